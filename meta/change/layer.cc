#include "meta/change/layer.h"

#include <algorithm>

namespace tandem::meta {

const ObjectChange* Layer::Find(const ObjectId& object) const {
  const ChangeSet& shard = shards[ShardOf(object)];
  const auto found = shard.find(object);
  return found == shard.end() ? nullptr : &found->second;
}

bool Layer::empty() const {
  return std::all_of(shards.begin(), shards.end(),
                     [](const ChangeSet& shard) { return shard.empty(); });
}

size_t Layer::object_count() const {
  size_t count = 0;
  for (const ChangeSet& shard : shards) count += shard.size();
  return count;
}

uint64_t Layer::CountWeight() const {
  uint64_t count = 0;
  for (const ChangeSet& shard : shards) {
    for (const auto& [object, change] : shard) {
      count += WeightOf(change);
    }
  }
  return count;
}

void Layer::MergeNewer(const Layer& newer) {
  cut = newer.cut;
  if (first_change_ns == 0) first_change_ns = newer.first_change_ns;
  for (size_t i = 0; i < kShards; ++i) meta::MergeNewer(shards[i], newer.shards[i]);
}

}  // namespace tandem::meta
