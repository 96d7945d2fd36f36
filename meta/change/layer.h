// A layer is the change set of one closed epoch, or of several that were merged. It is not modified
// after it has been shared between threads.
#pragma once

#include <array>
#include <cstdint>

#include "meta/change/change_set.h"
#include "meta/change/cut_record.h"

namespace tandem::meta {

// So many ranges take about as much memory as an object or a name.
inline constexpr uint64_t kRangesPerWeight = 4;
// What a change weighs, as a measure of its memory: one for the object, one for each name, and a
// quarter for each range.
inline uint64_t WeightOf(const ObjectChange& change) {
  return 1 + change.entries.size() +
         (change.data.count() + change.suspect.count()) / kRangesPerWeight;
}
inline constexpr size_t kShards = 64;
inline size_t ShardOf(const ObjectId& object) { return object.low() % kShards; }

struct Layer {
  CutRecord cut;                // the cut that ended the epoch
  int64_t first_change_ns = 0;  // BootTimeNs of the oldest change; 0 if there is none
  std::array<ChangeSet, kShards> shards;
  // Measures the layer's memory: the number of objects and names, plus the number of ranges divided
  // by kRangesPerWeight.
  uint64_t weight = 0;

  const ObjectChange* Find(const ObjectId& object) const;
  bool empty() const;
  size_t object_count() const;
  uint64_t CountWeight() const;
  // Merges a newer layer into this one. Does not update `weight`: the caller counts it again.
  void MergeNewer(const Layer& newer);
};

}  // namespace tandem::meta
