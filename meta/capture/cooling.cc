#include "meta/capture/cooling.h"

#include <algorithm>
#include <utility>

#include "meta/base/fault_point.h"
#include "meta/capture/sync_cadence.h"
#include "meta/capture/tuning.h"
#include "meta/state/witness.h"

namespace tandem::meta {
namespace {

ObjectChange ForDatabase(const ObjectChange& change) {
  if (change.entries.size() <= kMaxNamesWritten) return change;
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

Cooling::Cooling(StateWriter& writer, Marks& marks, Epochs& epochs, SourceSync& sync,
                 DeferredChanges& deferred, bool follows_names,
                 std::vector<ObjectRef> recently_changed)
    : writer_(writer),
      marks_(marks),
      epochs_(epochs),
      sync_(sync),
      deferred_(deferred),
      follows_names_(follows_names),
      recently_changed_(recently_changed.begin(), recently_changed.end()) {}

Cooling::~Cooling() { Stop(); }

void Cooling::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Cooling::Stop() {
  {
    MutexLock lock(stop_mutex_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Cooling::Run() {
  SyncCadence cadence(CondVar::Clock::now());
  while (true) {
    {
      MutexLock lock(stop_mutex_);
      while (!stopping_ && stop_.WaitUntil(stop_mutex_, cadence.next())) {
      }
    }
    if (stopping_) return;
    // What failed has been logged; the marks are still there.
    if (cadence.MustSync(CondVar::Clock::now(), written_.exchange(0))) {
      (void)EndWindow(/*all=*/false);
      cadence.SyncEnded(CondVar::Clock::now());
    } else {
      MutexLock lock(window_mutex_);
      (void)deferred_.RetryDue();
    }
  }
}

// What cools has not been touched since the window before, so the sync that begins now covers it.
Status Cooling::EndWindow(bool all) {
  MutexLock lock(window_mutex_);
  if (!marks_.empty() || sync_.is_owed()) RETURN_IF_ERROR(sync_.Sync(epochs_.newest_cut()));
  Status first;
  if (follows_names_) {
    first = writer_.Do([](StateDatabase& database) { return database.WriteOutdatedPlaces(); });
  }
  if (Status retried = deferred_.RetryDue(); first && !retried) first = std::move(retried);
  for (size_t shard = 0; shard < kShards && (all || !stopping_); ++shard) {
    const Status status = CoolShard(shard, all);
    if (first && !status) first = status;
  }
  return first;
}

Status Cooling::CoolShard(size_t shard, bool all) {
  const std::vector<ObjectId> hot = marks_.InShard(shard);
  Status status;
  for (std::span<const ObjectId> rest = hot; !rest.empty() && status;) {
    status = CoolSome(all, rest);
  }
  marks_.ForgetUnused(shard);
  return status;
}

Status Cooling::CoolSome(bool all, std::span<const ObjectId>& hot) {
  std::vector<Marks::Cooled> cooled;
  // Which marks go is decided in the writer's job: a mark asked for after that decision is then
  // certainly written after the old one's row is deleted.
  Status status = writer_.Do(
      [&](StateDatabase& database) { return CoolInTransaction(database, all, hot, cooled); });
  if (status) {
    if (!cooled.empty()) FAULT_POINT("source.cool.after_commit");
    return status;
  }
  for (const Marks::Cooled& one : cooled) marks_.Restore(one);
  return status;
}

Status Cooling::CoolInTransaction(StateDatabase& database, bool all, std::span<const ObjectId>& hot,
                                  std::vector<Marks::Cooled>& cooled) {
  std::vector<DirtyObject> rows;
  for (; !hot.empty() && rows.size() < kMaxCooledAtOnce; hot = hot.subspan(1)) {
    auto taken = marks_.EndWindow(hot.front(), all);
    if (!taken) continue;
    cooled.push_back(std::move(*taken));
    const Marks::Cooled& one = cooled.back();
    if (!one.foreseen) NoteRecentlyChanged(one.object);
    rows.push_back(DirtyRowsOf(one.object));
    std::vector<DirtyObject> born = RowsOfBorn(rows.back());
    std::ranges::move(born, std::back_inserter(rows));
  }
  for (const DirtyObject& dirty : rows) RETURN_IF_ERROR(database.ReplaceDirty(dirty));
  for (const Marks::Cooled& one : cooled) {
    for (const HotRegion region : one.regions) {
      RETURN_IF_ERROR(database.DeleteHot(one.object.id, region));
    }
  }
  if (!cooled.empty()) FAULT_POINT("source.cool.before_commit");
  return {};
}

DirtyObject Cooling::DirtyRowsOf(const ObjectRef& object) {
  DirtyObject dirty{object, {}};
  epochs_.VisitChanges(object.id, [&dirty](Epoch epoch, const ObjectChange& change) {
    dirty.changes.emplace_back(epoch, ForDatabase(change));
  });
  // Last, so that a row of the same range stays until it has been tried again; by then the epochs'
  // part has a hot row over it.
  if (auto deferred = deferred_.Of(object.id)) {
    dirty.changes.emplace_back(kDeferredEpoch, std::move(*deferred));
  }
  return dirty;
}

// Objects born in a hot directory have no mark of their own. When it cools they are written down as
// wholly dirty, and new directories among them as dirty with all their names: whatever else
// happens to them in this epoch is covered.
std::vector<DirtyObject> Cooling::RowsOfBorn(const DirtyObject& directory) {
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

void Cooling::NoteRecentlyChanged(const ObjectRef& object) {
  MutexLock lock(recent_mutex_);
  std::erase_if(recently_changed_, [&object](const auto& old) { return old.id == object.id; });
  recently_changed_.push_back(object);
  if (recently_changed_.size() > kMaxWitnesses) recently_changed_.pop_front();
}

std::vector<ObjectRef> Cooling::recently_changed() {
  MutexLock lock(recent_mutex_);
  return {recently_changed_.begin(), recently_changed_.end()};
}

}  // namespace tandem::meta
