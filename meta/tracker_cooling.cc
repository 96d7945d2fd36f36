// Cooling: replacing hot rows nobody has touched for a while by exact dirty rows, or by nothing if
// all replicas have the changes already.
#include <algorithm>
#include <span>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/sync_cadence.h"
#include "meta/tracker.h"
#include "meta/witness.h"

namespace tandem::meta {
namespace {

// A directory with more names pending than this (a replica is away) is written down as wholly
// changed: after a crash its names are compared, and what was born in it is found that way. Writing
// them one by one each time the directory cools would hold up every mark.
constexpr size_t kMaxNames = 1024;

// Objects written down in one transaction, about: marks wait for it.
constexpr size_t kMostRows = 512;

ObjectChange ForDatabase(const ObjectChange& change) {
  if (change.entries.size() <= kMaxNames) return change;
  ObjectChange coarse;
  coarse.handle = change.handle;
  coarse.attributes = change.attributes;
  coarse.whole = change.whole;
  coarse.born = change.born;
  coarse.data = change.data;
  coarse.listing = true;
  return coarse;
}

}  // namespace

void Tracker::RunTicks() {
  SyncCadence cadence(CondVar::Clock::now());
  while (true) {
    {
      MutexLock lock(tick_mutex_);
      while (!stopping_ && tick_.WaitUntil(tick_mutex_, cadence.next())) {
      }
    }
    if (stopping_) return;
    // What failed has been logged; the marks are still there.
    if (cadence.MustSync(CondVar::Clock::now(), written_since_tick_.exchange(0))) {
      (void)EndWindow(/*all=*/false);
      cadence.SyncEnded(CondVar::Clock::now());
    } else {
      (void)RetryDeferred();
    }
  }
}

// Whatever cools has not been touched since the last tick, so the sync that begins now covers it.
Status Tracker::EndWindow(bool all) {
  const bool anything_hot = std::ranges::any_of(shards_, [](Shard& shard) {
    MutexLock lock(shard.mutex);
    return !shard.hot.empty();
  });
  if (anything_hot || synced().number() < dropped_epoch_) RETURN_IF_ERROR(SyncSource());
  Status first = WriteOutdatedPlaces();
  if (Status retried = RetryDeferred(); first && !retried) first = std::move(retried);
  for (size_t i = 0; i < kShards && (all || !stopping_); ++i) {
    const Status status = CoolShard(i, all);
    if (first && !status) first = status;
  }
  return first;
}

Status Tracker::WriteOutdatedPlaces() {
  if (whereabouts() == nullptr) return {};
  return writer_.Do([](StateDatabase& database) { return database.WriteOutdatedPlaces(); });
}

Status Tracker::SyncSource() {
  CutRecord newest;
  {
    MutexLock lock(layers_mutex_);
    if (!cuts_.empty()) newest = cuts_.back();
  }
  // What is under way now was in cuts from the epoch on in which it began, and is not wholly
  // synced.
  const std::optional<Epoch> under_way = straddlers_.Oldest();
  FAULT_POINT("source.sync.before");
  if (Status status = tree_.Sync(); !status) {
    // The kernel may have thrown away what it could not write: the next start must compare.
    LogError("{}", status.error().ToString());
    RETURN_IF_ERROR(
        writer_.Do([](StateDatabase& database) { return database.Put(kDiskFailedKey, "yes"); },
                   StateWriter::Durability::kPowerCut));
    return status;
  }
  ++syncs_;
  FAULT_POINT("source.sync.after");
  Epoch synced = newest.name.epoch;
  if (under_way) synced = std::min(synced, Epoch(under_way->number() - 1));
  if (synced <= this->synced()) return {};
  const Epoch dropped(std::min(dropped_epoch_.load(), synced.number()));
  RETURN_IF_ERROR(writer_.Do([synced, dropped](StateDatabase& database) -> Status {
    RETURN_IF_ERROR(database.Put(kSyncedEpochKey, std::to_string(synced.number())));
    return database.DropDirty(dropped);
  }));
  synced_epoch_ = synced.number();
  return {};
}

Status Tracker::CoolShard(size_t index, bool all) {
  Shard& shard = shards_[index];
  std::vector<ObjectId> hot;
  {
    MutexLock lock(shard.mutex);
    hot.reserve(shard.hot.size());
    for (const auto& [id, entry] : shard.hot) hot.push_back(id);
  }
  Status status;
  for (std::span<const ObjectId> rest = hot; !rest.empty() && status;) {
    status = CoolSome(shard, all, rest);
  }
  MutexLock lock(shard.mutex);
  std::erase_if(shard.hot, [](const auto& entry) { return entry.second.marks.unused(); });
  return status;
}

Status Tracker::CoolSome(Shard& shard, bool all, std::span<const ObjectId>& hot) {
  std::vector<Cooled> cooled;
  // Which marks go is decided in the writer's job: a mark asked for after that decision is then
  // certainly written after the old one's row is deleted.
  Status status = writer_.Do([&](StateDatabase& database) {
    return CoolInTransaction(database, shard, all, hot, cooled);
  });
  if (status) {
    if (!cooled.empty()) FAULT_POINT("source.cool.after_commit");
    return status;
  }
  MutexLock lock(shard.mutex);
  for (const Cooled& one : cooled) {
    shard.hot.try_emplace(one.object.id, HotEntry{one.object, {}})
        .first->second.marks.Restore(one.regions);
  }
  return status;
}

Status Tracker::CoolInTransaction(StateDatabase& database, Shard& shard, bool all,
                                  std::span<const ObjectId>& hot, std::vector<Cooled>& cooled) {
  std::vector<DirtyObject> rows;
  {
    MutexLock lock(layers_mutex_);
    for (; !hot.empty() && rows.size() < kMostRows; hot = hot.subspan(1)) {
      {
        MutexLock shard_lock(shard.mutex);
        const auto found = shard.hot.find(hot.front());
        if (found == shard.hot.end()) continue;
        std::vector<HotRegion> regions = found->second.marks.EndWindow(all);
        if (regions.empty()) continue;
        if (!found->second.foreseen) NoteRecentlyChanged(found->second.object);
        cooled.push_back({found->second.object, std::move(regions)});
      }
      const Cooled& one = cooled.back();
      rows.push_back(DirtyRowsOf(one.object));
      const std::vector<DirtyObject> born = RowsOfBorn(rows.back());
      rows.insert(rows.end(), born.begin(), born.end());
    }
  }
  for (const DirtyObject& dirty : rows) RETURN_IF_ERROR(database.ReplaceDirty(dirty));
  for (const Cooled& one : cooled) {
    for (const HotRegion region : one.regions) {
      RETURN_IF_ERROR(database.DeleteHot(one.object.id, region));
    }
  }
  if (!cooled.empty()) FAULT_POINT("source.cool.before_commit");
  return {};
}

void Tracker::NoteRecentlyChanged(const ObjectRef& object) {
  std::erase_if(recently_changed_, [&object](const auto& old) { return old.id == object.id; });
  recently_changed_.push_back(object);
  if (recently_changed_.size() > kMaxWitnesses) recently_changed_.pop_front();
}

std::vector<ObjectRef> Tracker::recently_changed() {
  MutexLock lock(layers_mutex_);
  return {recently_changed_.begin(), recently_changed_.end()};
}

DirtyObject Tracker::DirtyRowsOf(const ObjectRef& object) {
  DirtyObject dirty{object, {}};
  for (const auto& layer : layers_) {
    const ObjectChange* change = layer->Find(object.id);
    if (change != nullptr) dirty.changes.emplace_back(layer->cut.name.epoch, ForDatabase(*change));
  }
  Shard& shard = ShardFor(object.id);
  MutexLock lock(shard.mutex);
  if (const auto open = shard.open.find(object.id); open != shard.open.end()) {
    dirty.changes.emplace_back(open_epoch(), ForDatabase(open->second));
  }
  // Last, so that a row of the same range stays until it has been tried again; by then the epochs'
  // part has a hot row over it.
  if (const auto deferred = deferred_.find(object.id); deferred != deferred_.end()) {
    dirty.changes.emplace_back(kDeferredEpoch, deferred->second.change);
  }
  return dirty;
}

// Objects born in a hot directory have no mark of their own. When it cools they are written down as
// wholly dirty, and new directories among them as dirty with all their names: whatever else
// happens to them in this epoch is covered.
std::vector<DirtyObject> Tracker::RowsOfBorn(const DirtyObject& directory) {
  std::vector<DirtyObject> rows;
  for (const auto& [epoch, change] : directory.changes) {
    for (const auto& [name, entry] : change.entries) {
      if (entry.child.is_null()) continue;
      DirtyObject born = DirtyRowsOf({entry.child, {}});
      const bool whole = std::any_of(born.changes.begin(), born.changes.end(),
                                     [](const auto& item) { return item.second.whole; });
      if (!whole) continue;
      for (auto& [born_epoch, born_change] : born.changes) {
        born.object.handle = born_change.handle;
        born_change.listing = born_change.listing || born_change.born;
      }
      rows.push_back(std::move(born));
    }
  }
  return rows;
}

Status Tracker::Stop() {
  stopping_ = true;
  WakeAll();
  {
    MutexLock lock(tick_mutex_);
    tick_.NotifyAll();
  }
  if (ticker_.joinable()) ticker_.join();
  return EndWindow(/*all=*/true);
}

}  // namespace tandem::meta
