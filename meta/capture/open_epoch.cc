#include "meta/capture/open_epoch.h"

#include <algorithm>
#include <utility>

namespace tandem::meta {

OpenEpoch::OpenEpoch(Epoch number, Layer recovered)
    : number_(number.number()), objects_and_names_(recovered.CountWeight()) {
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

uint64_t OpenEpoch::weight() const {
  const auto ranges = static_cast<uint64_t>(std::max<int64_t>(0, ranges_.load()));
  return objects_and_names_.load() + ranges / kRangesPerWeight;
}

void OpenEpoch::MoveTo(Layer& layer) {
  layer.cut.name.epoch = number();
  layer.weight = weight();
  objects_and_names_ = 0;
  ranges_ = 0;
  for (size_t i = 0; i < kShards; ++i) {
    MutexLock lock(shards_[i].mutex);
    std::swap(layer.shards[i], shards_[i].changes);
  }
}

}  // namespace tandem::meta
