// How far a source follows an epoch that a replica claims, and a replica one that a source commits.
// A source whose state database was lost has to number its cuts above the replica's, so it believes
// what it is told, but only up to what can have been counted: a million cuts a second since 1970.
// No source is that fast. So the limit outruns every counter, one that a lying replica has driven
// up to it included, and what an honest replica holds is always within it.
//
// Any thread.
#pragma once

#include <algorithm>
#include <chrono>

#include "meta/base/ids.h"

namespace tandem::meta {

// What a clock says that was never set (1970) must not refuse an honest number.
inline constexpr Epoch kAlwaysPlausible{uint64_t{1} << 50};
// The replica's clock may be behind the source's.
inline constexpr std::chrono::hours kClocksDiffer{24};

inline Epoch NewestPlausible(std::chrono::microseconds allowance = {}) {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch() + allowance;
  const auto count = std::chrono::duration_cast<std::chrono::microseconds>(since_1970).count();
  const Epoch counted(static_cast<uint64_t>(std::max<int64_t>(0, count)));
  return std::min(std::max(kAlwaysPlausible, counted), kNewestEpoch);
}

}  // namespace tandem::meta
