// A layer is the change set of one closed epoch (or of several, merged); it does not change any
// more once it is shared.
#pragma once

#include <array>
#include <cstdint>

#include "meta/change_set.h"
#include "meta/state_database.h"

namespace tandem::meta {

inline constexpr uint64_t kRangesPerWeight = 4;
inline constexpr size_t kShards = 64;
inline size_t ShardOf(const ObjectId& object) { return object.low() % kShards; }

struct Layer {
  CutRecord cut;                // that ended the epoch
  int64_t first_change_ns = 0;  // BootTimeNs of the oldest change; 0: there is none
  std::array<ChangeSet, kShards> shards;
  // Objects and names in it, and ranges, of which some cost as much: its memory.
  uint64_t weight = 0;

  const ObjectChange* Find(const ObjectId& object) const;
  bool empty() const;
  size_t object_count() const;
  uint64_t CountWeight() const;
  // Leaves `weight` to be counted again.
  void MergeNewer(const Layer& newer);
};

}  // namespace tandem::meta
