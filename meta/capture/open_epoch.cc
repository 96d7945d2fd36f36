#include "meta/capture/open_epoch.h"

#include <algorithm>
#include <utility>

namespace tandem::meta {

OpenEpoch::OpenEpoch(Epoch number, Layer recovered)
    : number_(number.number()), weight_(recovered.CountWeight()) {
  for (size_t i = 0; i < kShards; ++i) {
    MutexLock lock(shards_[i].mutex);
    shards_[i].changes = std::move(recovered.shards[i]);
  }
}

bool OpenEpoch::IsNewborn(const ObjectId& object) {
  bool newborn = false;
  Visit(object, [&newborn](const ObjectChange& change) { newborn = change.born; });
  return newborn;
}

void OpenEpoch::CountPending(PendingCounts& counts) {
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    for (const auto& [object, change] : shard.changes) counts.Add(change);
  }
}

void OpenEpoch::MoveTo(Layer& layer) {
  layer.cut.name.epoch = number();
  layer.weight = weight_.exchange(0);
  for (size_t i = 0; i < kShards; ++i) {
    MutexLock lock(shards_[i].mutex);
    std::swap(layer.shards[i], shards_[i].changes);
  }
}

}  // namespace tandem::meta
