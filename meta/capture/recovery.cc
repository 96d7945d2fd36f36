#include "meta/capture/recovery.h"

#include <algorithm>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"

namespace tandem::meta {
namespace {

// Looks up what the names of dirty entries lead to now, since the database holds only the names. If
// the directory is gone, drops its entries.
Status ResolveEntries(const SourceTree& tree, const ObjectRef& directory, ObjectChange& change) {
  if (change.entries.empty() && !change.listing) return {};
  // A start does not wait for a search. If the directory would have to be searched for, the sender
  // does that later.
  auto found = tree.Open(directory, Effort::kAtOnce);
  if (!found && (IsUnreadable(found.error()) || IsNameUnknown(found.error()))) {
    change.entries.clear();
    change.listing = true;
    return {};
  }
  ASSIGN_OR_RETURN(const std::optional<SourceObject> opened, std::move(found));
  if (!opened) {
    change.entries.clear();
    change.listing = false;
    return {};
  }
  const auto attributes = opened->ReadAttributes(WithXattrs::kNo);
  if (attributes && attributes->kind != Kind::kDirectory) change.listing = false;
  if (!attributes && !IsUnreadable(attributes.error())) {
    return tl::unexpected<Error>(attributes.error());
  }
  for (auto entry = change.entries.begin(); entry != change.entries.end();) {
    auto child = tree.Lookup(opened->path_fd(), entry->first.c_str());
    if (!child && IsUnreadable(child.error())) {
      // The entry cannot be read from the disk. Listing the directory meets it again and reports
      // it.
      change.listing = true;
      entry = change.entries.erase(entry);
      continue;
    }
    RETURN_IF_ERROR(child);
    entry->second.child = *child ? (*child)->id : ObjectId();
    ++entry;
  }
  return {};
}

Result<std::vector<std::shared_ptr<const Layer>>> LoadLayers(StateDatabase& database,
                                                             const SourceTree& tree,
                                                             int64_t oldest_ns,
                                                             ChangeSet& deferred) {
  ASSIGN_OR_RETURN(auto dirty, database.LoadDirty());
  if (auto found = dirty.extract(kDeferredEpoch)) deferred = std::move(found.mapped());
  std::vector<std::shared_ptr<const Layer>> layers;
  for (auto& [epoch, changes] : dirty) {
    auto layer = std::make_shared<Layer>();
    layer->cut.name.epoch = epoch;
    layer->first_change_ns = oldest_ns;
    for (auto& [object, change] : changes) {
      RETURN_IF_ERROR(ResolveEntries(tree, {object, change.handle}, change));
      layer->shards[ShardOf(object)].emplace(object, std::move(change));
    }
    layer->weight = layer->CountWeight();
    layers.push_back(std::move(layer));
  }
  return layers;
}

void AddSuspect(const HotRow& row, ObjectChange& change) {
  change.handle = row.object.handle;
  change.attributes = kAllAttributes;
  if (row.region.is_entries()) {
    change.listing = true;
  } else if (!row.region.is_attributes()) {
    change.suspect.Add(row.region.range());
  }
}

Status RememberPlaces(StateDatabase& database, const SourceTree& tree) {
  if (tree.by_names() == nullptr) return {};
  Whereabouts& whereabouts = tree.by_names()->whereabouts();
  database.FollowNames(&whereabouts);
  ASSIGN_OR_RETURN(const std::vector<Whereabouts::Row> rows, database.LoadPlaces());
  for (const auto& [object, name] : rows) whereabouts.NoteFormer(object, name.parent, name.name);
  return {};
}

Status ReplaceHotRows(StateDatabase& database, const std::vector<HotRow>& rows,
                      const Layer& suspects) {
  FAULT_POINT("source.recover.before_commit");
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database.database()));
  RETURN_IF_ERROR(database.DropDeferred(
      ObjectId()));  // they are added again below, as changes of the open epoch
  for (const ChangeSet& shard : suspects.shards) {
    for (const auto& [object, change] : shard) {
      RETURN_IF_ERROR(
          database.AddDirty({{object, change.handle}, {{suspects.cut.name.epoch, change}}}));
    }
  }
  for (const HotRow& row : rows) {
    RETURN_IF_ERROR(database.DeleteHot(row.object.id, row.region));
  }
  RETURN_IF_ERROR(database.DeleteUnusedObjects());
  RETURN_IF_ERROR(database.DeleteUnusedPlaces());
  RETURN_IF_ERROR(transaction.Commit());
  FAULT_POINT("source.recover.after_commit");
  return {};
}

// The database does not record when the pending changes were made. All were made after the oldest
// cut that is still known, so taking that time never understates the lag, unless the clock was set
// back.
int64_t AgeOfChanges(const std::vector<CutRecord>& cuts) {
  if (cuts.empty()) return 0;
  const int64_t oldest = cuts.front().wall_time_ns;
  const int64_t newest = cuts.back().wall_time_ns;
  const int64_t now = WallTimeNs();
  if (now < newest) {
    LogWarning(
        "the clock of this host shows a time before the newest cut was taken: it was set back. "
        "How long tandemfs has been away is not known, and lag does not count it");
  }
  return std::max({int64_t{0}, now - oldest, newest - oldest});
}

}  // namespace

Result<Tracker::Recovered> Recover(StateDatabase& database, const SourceTree& tree) {
  Tracker::Recovered recovered;
  RETURN_IF_ERROR(RememberPlaces(database, tree));
  ASSIGN_OR_RETURN(recovered.cuts, database.LoadCuts());
  const int64_t oldest_ns = BootTimeNs() - AgeOfChanges(recovered.cuts);
  ChangeSet deferred;
  ASSIGN_OR_RETURN(recovered.layers, LoadLayers(database, tree, oldest_ns, deferred));

  Epoch newest = recovered.cuts.empty() ? Epoch() : recovered.cuts.back().name.epoch;
  if (!recovered.layers.empty()) {
    newest = std::max(newest, recovered.layers.back()->cut.name.epoch);
  }
  recovered.open_epoch = newest.Next();
  recovered.open.cut.name.epoch = recovered.open_epoch;
  recovered.open.first_change_ns = oldest_ns;

  for (auto& [object, change] : deferred) {
    recovered.open.shards[ShardOf(object)].emplace(object, std::move(change));
  }
  ASSIGN_OR_RETURN(const std::vector<HotRow> hot, database.LoadHot());
  for (const HotRow& row : hot) {
    AddSuspect(row, recovered.open.shards[ShardOf(row.object.id)][row.object.id]);
  }
  if (!hot.empty()) {
    LogInfo("recovering: {} hot regions of {} objects will be compared when they are shipped",
            hot.size(), recovered.open.object_count());
  }
  RETURN_IF_ERROR(ReplaceHotRows(database, hot, recovered.open));
  return recovered;
}

}  // namespace tandem::meta
