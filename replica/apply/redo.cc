#include "replica/apply/redo.h"

#include <algorithm>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/base/printable.h"
#include "replica/apply/redo_content.h"
#include "replica/apply/redo_free.h"
#include "replica/apply/redo_gather.h"
#include "replica/apply/redo_place.h"
#include "replica/apply/special_attributes.h"
#include "replica/apply/tree_path.h"

namespace tandem::replica {
namespace {

Status FinishDirectory(RedoState& state, const ContentWriter& content, ObjectId directory) {
  ASSIGN_OR_RETURN(const UniqueFd fd, state.tree.OpenObject(directory));
  if (!fd.valid()) return {};
  const auto recorded = content.directories().find(directory);
  if (recorded != content.directories().end()) {
    return state.WriteAttributes(directory, fd.get(), recorded->second);
  }
  ASSIGN_OR_RETURN(const auto row, state.place.catalog.Find(directory));
  return row ? state.WriteAttributes(directory, fd.get(), row->attributes) : Status();
}

// Deepest first, because a directory's times and permissions do not change again once its children
// are finished.
Status FinishDirectories(RedoState& state, const ContentWriter& content) {
  std::unordered_set<ObjectId> concerned = std::move(state.touched);
  concerned.merge(state.tree.TakeLoosened());
  for (const auto& [directory, attributes] : content.directories()) concerned.insert(directory);

  std::vector<std::pair<size_t, ObjectId>> order;
  Depths depths([&state](ObjectId object) { return state.plan.FinalNames(object); });
  for (const ObjectId directory : concerned) {
    ASSIGN_OR_RETURN(const auto kind, state.plan.FinalKind(directory));
    if (kind != meta::Kind::kDirectory) continue;
    ASSIGN_OR_RETURN(const bool alive, state.plan.IsAlive(directory));
    if (!alive) continue;
    ASSIGN_OR_RETURN(const size_t depth, depths.Of(directory));
    order.emplace_back(depth, directory);
  }
  std::ranges::sort(order, std::greater<>());
  for (const auto& [depth, directory] : order) {
    if (auto finished = FinishDirectory(state, content, directory); !finished) {
      RETURN_IF_ERROR(state.FallShort(directory, std::move(finished.error())));
    }
    FAULT_POINT("replica.redo.attributes_set");
  }
  return {};
}

Status NoteShort(ShortObjects& short_objects, const ShortObjects::Row& row) {
  if (row.by_name) {
    ASSIGN_OR_RETURN(const auto before, short_objects.Find(row.object));
    if (before && !before->by_name) return {};
  }
  return short_objects.Note(row);
}

// An object that was sent whole is correct now, unless it fell short again.
Status RecordShortObjects(RedoState& state) {
  ShortObjects& short_objects = state.place.catalog.short_objects();
  ASSIGN_OR_RETURN(const bool none_before, short_objects.IsEmpty());
  if (!none_before) {
    for (const auto& [object, planned] : state.plan.objects()) {
      const bool made = planned.whole != 0 && planned.fate != Plan::Fate::kDrop;
      if (made) RETURN_IF_ERROR(short_objects.Clear(object));
    }
    // All of these were tried again.
    ASSIGN_OR_RETURN(const auto by_name, short_objects.ListByName());
    for (const auto& row : by_name) RETURN_IF_ERROR(short_objects.Clear(row.object));
  }
  for (const auto& [object, row] : state.fallen_short) {
    ASSIGN_OR_RETURN(const auto kind, state.place.catalog.FindKind(object));
    if (kind || object == kRootObject) RETURN_IF_ERROR(NoteShort(short_objects, row));
  }
  return {};
}

Status RecordStandingNames(RedoState& state) {
  StandingNames& standing = state.place.catalog.standing();
  if (state.some_stood) RETURN_IF_ERROR(standing.Clear());
  for (const EntryKey& key : state.standing) RETURN_IF_ERROR(standing.Note(key));
  return {};
}

Status RecordEntries(RedoState& state) {
  Catalog& catalog = state.place.catalog;
  // In the order of the table: its rows come to stand one after the other.
  for (const Outline::Entry* entry : state.plan.entries().InOrder()) {
    const auto& [key, child] = *entry;
    if (child.is_null()) {
      RETURN_IF_ERROR(catalog.RemoveEntry(key));
      continue;
    }
    ASSIGN_OR_RETURN(const auto kind, state.plan.FinalKind(child));
    if (kind == meta::Kind::kDirectory) {
      // Removes its previous name, unless the stages set or remove that name.
      ASSIGN_OR_RETURN(const auto names, catalog.NamesOf(child));
      for (const EntryKey& name : names) {
        if (!state.plan.entries().contains(name)) RETURN_IF_ERROR(catalog.RemoveEntry(name));
      }
    }
    RETURN_IF_ERROR(catalog.SetEntry(key, child, state.epoch));
  }
  for (const auto& [object, planned] : state.plan.objects()) {
    if (planned.fate == Plan::Fate::kReplace) RETURN_IF_ERROR(catalog.RemoveNamesIn(object));
  }
  for (const ObjectId object : state.plan.dead()) RETURN_IF_ERROR(catalog.Remove(object));
  return {};
}

Status Arrange(RedoState& state, const std::vector<std::shared_ptr<Stage>>& stages) {
  Gatherer gatherer(state);
  RETURN_IF_ERROR(gatherer.CleanHold());
  if (state.place.cramped) RETURN_IF_ERROR(FreeRoomFirst(state, stages));
  RETURN_IF_ERROR(gatherer.Run());
  ContentWriter content(state);
  RETURN_IF_ERROR(content.Run(stages));
  Placer placer(state, content);
  RETURN_IF_ERROR(placer.PlaceAll());
  FAULT_POINT("replica.redo.entries_placed");
  RETURN_IF_ERROR(placer.RemoveRest());
  FAULT_POINT("replica.redo.removed");
  return FinishDirectories(state, content);
}

}  // namespace

// A new object that has one name, in a new directory, is made there: that costs less than
// to move it there from hold/. A new directory lets nobody in until all is done. One that was there
// may have to be closed by this redo, and gives what is made in it its group or ACL.
Result<std::optional<EntryKey>> RedoState::PlaceToMake(ObjectId object) {
  if (!plan.IsNew(object) || place.cramped) return std::nullopt;
  ASSIGN_OR_RETURN(auto names, plan.FinalNames(object));
  if (names.size() != 1 || !plan.IsNew(names.front().parent)) return std::nullopt;
  return std::move(names.front());
}

Status RedoState::WriteAttributes(ObjectId object, int fd, const meta::Attributes& attributes) {
  std::optional<meta::Attributes> permitted;
  std::string withheld;
  if (!place.may_set_special) withheld = WithholdSpecial(permitted.emplace(attributes));
  ASSIGN_OR_RETURN(const XattrNames unset,
                   replica::WriteAttributes(fd, permitted ? *permitted : attributes, notices));
  const std::string names = Joined(unset);
  // A new object has no row that would have to go.
  if (names.empty() && withheld.empty() && plan.IsNew(object)) return {};
  return place.catalog.lacking().Note(object, names, withheld);
}

Status RedoState::FallShort(ObjectId object, Error error, bool by_name) {
  if (!IsErrorOfTheObject(error, place.hold_fd)) return tl::unexpected<Error>(std::move(error));
  ASSIGN_OR_RETURN(const std::string path, FinalPathOf(object));
  const std::string reason = error.ToString();
  ASSIGN_OR_RETURN(const auto before, place.catalog.short_objects().Find(object));
  if (!before || before->reason != reason) {
    LogWarning("{} falls short: {}", Printable(path), reason);
  }
  const auto [row, is_new] =
      fallen_short.try_emplace(object, ShortObjects::Row{object, by_name, reason});
  if (!is_new && row->second.by_name && !by_name) row->second = {object, by_name, reason};
  return {};
}

Result<std::string> RedoState::FinalPathOf(ObjectId object) {
  return PathOf(object, [this](ObjectId at) { return plan.FinalNames(at); });
}

Status RedoState::RemoveOrKeep(int directory_fd, const std::string& name, const Rescue& rescue,
                               const Census& census) {
  const bool keeps = place.kept != nullptr && place.kept->keeps() && !place.cramped;
  const auto keep = [&](int fd, const std::string& child) -> Result<bool> {
    if (!keeps || !KeptBases::MayBeOfUse(fd, child)) return false;
    ASSIGN_OR_RETURN(const auto inode, InodeAt(fd, child));
    ASSIGN_OR_RETURN(const auto object, place.catalog.FindInode(inode.value_or(InodeId())));
    return object && place.kept->Take(fd, child, *object);
  };
  ASSIGN_OR_RETURN(const bool kept, keep(directory_fd, name));
  if (kept) return {};
  const auto rescue_or_keep = [&](int fd, const std::string& child) -> Result<bool> {
    if (rescue) {
      ASSIGN_OR_RETURN(const bool rescued, rescue(fd, child));
      if (rescued) return true;
    }
    return keep(fd, child);
  };
  const int hold_fd = tree.hold_fd();
  return RemoveAll(hold_fd, directory_fd, name, keeps ? Rescue(rescue_or_keep) : rescue, census);
}

Status RedoState::ReportStranger(ObjectId directory, const std::string& name) const {
  if (place.edits == nullptr) return {};
  ASSIGN_OR_RETURN(const std::string path, PathOf(place.catalog, directory));
  place.edits->Note(PathIn(path, name), "it was not the replica's, and is removed");
  return {};
}

Result<AppliedCut> Redo(const RedoPlace& place, const std::vector<std::shared_ptr<Stage>>& stages,
                        std::unique_ptr<Plan> plan, Notices& notices) {
  ASSIGN_OR_RETURN(const AppliedCut before, place.catalog.Applied());
  if (stages.front()->base() != before.name) {
    return MakeError(ErrorKind::kCorrupt, "apply a stage whose base is another cut");
  }
  const CommitRecord commit = stages.back()->commit_record();
  Marker marker = place.marker;
  // Before a first cut the tree was never at one.
  marker.state = marker.cut.name.epoch == Epoch() ? TreeState::kSeeding : TreeState::kApplying;
  RETURN_IF_ERROR(WriteMarker(place.volume_fd, marker));
  FAULT_POINT("replica.redo.begun");

  if (plan == nullptr || !plan->IsOf(stages)) {
    ASSIGN_OR_RETURN(plan, Plan::Make(stages, place.catalog, place.largest_file));
  }
  if (!plan->missing().empty()) {
    return MakeError(ErrorKind::kCorrupt, "apply a stage that refers to unknown objects");
  }
  // An object that a set of no moment changes may still differ from the source in what the set did
  // not bring. kNewestEpoch makes the source compare it in any case.
  const bool of_no_moment = commit.cut.epoch == Epoch();
  RedoState state(place, *plan, notices, of_no_moment ? kNewestEpoch : commit.cut.epoch);
  place.catalog.PrepareFor(plan->objects().size());
  ASSIGN_OR_RETURN(Savepoint part, place.catalog.Begin());
  RETURN_IF_ERROR(Arrange(state, stages));
  RETURN_IF_ERROR(RecordEntries(state));
  RETURN_IF_ERROR(RecordShortObjects(state));
  RETURN_IF_ERROR(RecordStandingNames(state));
  // The source sends whole what the catalog does not know.
  RETURN_IF_ERROR(place.catalog.Forget({state.lost.begin(), state.lost.end()},
                                       [](ObjectId object) { return object == kRootObject; }));
  const bool whole = state.lost.empty();
  const AppliedCut applied =
      whole ? AppliedCut{commit.cut, commit.wall_time_ns} : AppliedCut::Nowhere();
  RETURN_IF_ERROR(place.catalog.SetApplied(applied));
  ASSIGN_OR_RETURN(notices.lacking, place.catalog.lacking().Count());
  RETURN_IF_ERROR(place.catalog.digests().Flush());
  marker.state = applied.IsNowhere() ? TreeState::kSeeding : TreeState::kApplied;
  marker.cut = applied;
  RETURN_IF_ERROR(WriteMarker(place.volume_fd, marker));
  FAULT_POINT("replica.redo.marker_written");
  // Last, because the catalog must not be at the cut if anything has to be redone.
  RETURN_IF_ERROR(part.Release());
  FAULT_POINT("replica.redo.catalog_changed");
  return applied;
}

}  // namespace tandem::replica
