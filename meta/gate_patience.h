// How long a cut keeps operations out while it waits for the running ones, try after try. The first
// try is short: one operation that waits for the disk is not to hold up all others. Each further
// one is twice as long, without end: as nobody gets in meanwhile, the try that outlasts the slowest
// operation succeeds, and keeps operations out no longer than that one takes. So cuts come on any
// disk.
#pragma once

#include <algorithm>
#include <chrono>

namespace tandem::meta {

class GatePatience {
 public:
  static constexpr std::chrono::microseconds kFirst{3000};

  // Of the try that is due.
  std::chrono::microseconds patience() const { return patience_; }
  // Whether it is short enough to hold a lock meanwhile that others need.
  bool IsShort() const { return patience_ <= 4 * kFirst; }
  // It failed. Returns how long operations are let through before the next.
  std::chrono::milliseconds Failed() {
    patience_ = std::min(2 * patience_, kLongest);
    const auto pause = pause_;
    pause_ = std::min(2 * pause_, kPauseLongest);
    return pause;
  }

 private:
  static constexpr std::chrono::microseconds kLongest{std::chrono::hours(1)};  // never seen
  static constexpr std::chrono::milliseconds kPauseFirst{2};
  static constexpr std::chrono::milliseconds kPauseLongest{100};

  std::chrono::microseconds patience_ = kFirst;
  std::chrono::milliseconds pause_ = kPauseFirst;
};

}  // namespace tandem::meta
