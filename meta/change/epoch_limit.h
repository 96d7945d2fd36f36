// Limits the epoch that a source accepts from a replica and a replica accepts from a source. A
// source whose state database was lost has to number its cuts above the replica's, so it accepts
// the number the replica claims, but only up to what can have been reached by a million cuts a
// second since 1970. No source is that fast, so the limit grows faster than every epoch counter,
// even one that a lying replica has raised to the limit, and an honest replica's epoch is always
// below it.
//
// Any thread.
#pragma once

#include <algorithm>
#include <chrono>

#include "meta/base/ids.h"

namespace tandem::meta {

// Always accepted, so that an honest number is not refused if the clock was never set (1970).
inline constexpr Epoch kAlwaysPlausible{uint64_t{1} << 50};
// The allowance for a replica's clock that is behind the source's.
inline constexpr std::chrono::hours kClocksDiffer{24};

// Returns the highest epoch to accept now, with the clock advanced by `allowance`.
inline Epoch NewestPlausible(std::chrono::microseconds allowance = {}) {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch() + allowance;
  const auto count = std::chrono::duration_cast<std::chrono::microseconds>(since_1970).count();
  const Epoch counted(static_cast<uint64_t>(std::max<int64_t>(0, count)));
  return std::min(std::max(kAlwaysPlausible, counted), kNewestEpoch);
}

}  // namespace tandem::meta
