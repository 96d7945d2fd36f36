// Determines how long each try to take a cut keeps the gate closed while it waits for the running
// operations. The first try is short, so that one operation that waits for the disk does not delay
// all others. Each further try is twice as long. Since no operation enters meanwhile, the first try
// that is longer than the slowest running operation succeeds, and it keeps the gate closed no
// longer than that operation takes. So cuts come on any disk. Not synchronised.
#pragma once

#include <algorithm>
#include <chrono>

namespace tandem::meta {

class GatePatience {
 public:
  static constexpr std::chrono::microseconds kFirst{3000};

  // Returns the patience of the next try.
  std::chrono::microseconds patience() const { return patience_; }
  // Returns whether the next try is short enough to hold a lock that other threads need.
  bool IsShort() const { return patience_ <= 4 * kFirst; }
  // Called when a try failed. Returns how long to leave the gate open before the next try.
  std::chrono::milliseconds Failed() {
    patience_ = std::min(2 * patience_, kLongest);
    const auto pause = pause_;
    pause_ = std::min(2 * pause_, kPauseLongest);
    return pause;
  }

 private:
  static constexpr std::chrono::microseconds kLongest{std::chrono::hours(1)};  // never reached
  static constexpr std::chrono::milliseconds kPauseFirst{2};
  static constexpr std::chrono::milliseconds kPauseLongest{100};

  std::chrono::microseconds patience_ = kFirst;
  std::chrono::milliseconds pause_ = kPauseFirst;
};

}  // namespace tandem::meta
