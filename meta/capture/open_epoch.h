// The open epoch: its number, and what has changed in it so far, in shards by object. A cut ends it
// and moves what has changed to a layer.
//
// Any thread. Each shard has a mutex of its own; nothing else is locked while one is held.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/change/change_set.h"
#include "meta/change/layer.h"

namespace tandem::meta {

class OpenEpoch {
 public:
  // `recovered`: changes that an earlier run has recorded for this epoch.
  OpenEpoch(Epoch number, Layer recovered);

  Epoch number() const { return Epoch(number_.load()); }
  // Called while the gate is closed.
  void set_number(Epoch number) { number_ = number.number(); }

  // Calls `alter` with what has changed of the object so far, for it to add to, under the shard's
  // lock. Called inside the gate, or while it is closed.
  template <typename Alter>
  void Record(const ObjectRef& object, Alter alter) {
    Shard& shard = shards_[ShardOf(object.id)];
    MutexLock lock(shard.mutex);
    const auto [found, is_new] = shard.changes.try_emplace(object.id);
    ObjectChange& change = found->second;
    const size_t entries = change.entries.size();
    const size_t ranges = change.data.count();
    if (change.handle.empty()) change.handle = object.handle;
    alter(change);
    const size_t added = (is_new ? 1 : 0) + change.entries.size() - entries;
    if (added != 0) objects_and_names_ += added;
    if (change.data.count() != ranges) {
      ranges_ += static_cast<int64_t>(change.data.count()) - static_cast<int64_t>(ranges);
    }
  }

  // Calls `visit` with the object's change, if there is any, under the shard's lock.
  template <typename Visitor>
  void Visit(const ObjectId& object, Visitor visit) {
    Shard& shard = shards_[ShardOf(object)];
    MutexLock lock(shard.mutex);
    const auto found = shard.changes.find(object);
    if (found != shard.changes.end()) visit(std::as_const(found->second));
  }
  // Whether the object was born in this epoch: then its directory's mark covers it.
  bool IsNewborn(const ObjectId& object);

  void CountPending(PendingCounts& counts);
  // Objects, names and (a quarter each) ranges that have changed.
  uint64_t weight() const;

  // Moves the number, what has changed and its weight to `layer`. The number stays until the caller
  // sets another. Called while the gate is closed.
  void MoveTo(Layer& layer);

 private:
  struct Shard {
    Mutex mutex;
    ChangeSet changes GUARDED_BY(mutex);
  };

  std::array<Shard, kShards> shards_;
  std::atomic<uint64_t> number_;
  std::atomic<uint64_t> objects_and_names_;
  std::atomic<int64_t> ranges_{0};
};

}  // namespace tandem::meta
