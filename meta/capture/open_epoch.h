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
    const uint64_t weight = is_new ? 0 : WeightOf(change);
    if (change.handle.empty()) change.handle = object.handle;
    alter(change);
    // Wraps where the change has become lighter, and so does the sum.
    if (const uint64_t added = WeightOf(change) - weight; added != 0) weight_ += added;
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
  // The weight of all that has changed (WeightOf).
  uint64_t weight() const { return weight_.load(); }

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
  std::atomic<uint64_t> weight_;
};

}  // namespace tandem::meta
