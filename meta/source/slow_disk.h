// Remembers whether the source's disk has recently made changing operations wait. Any thread.
//
// A write into the page cache takes microseconds. Once too many pages are dirty, the kernel
// throttles writers to the speed of the disk: the write call (balance_dirty_pages) sleeps for a
// tenth of a second at a time.
#pragma once

#include <atomic>
#include <chrono>

namespace tandem::meta {

class SlowDisk {
 public:
  using Clock = std::chrono::steady_clock;

  // An alteration that takes this long is slow: it would make a cut's first try at the gate fail.
  static constexpr std::chrono::milliseconds kSlow{3};
  // How long the disk counts as slow after a slow alteration.
  static constexpr std::chrono::seconds kRemembered{2};

  void Note(Clock::duration taken, Clock::time_point now) {
    if (taken >= kSlow) until_.store((now + kRemembered).time_since_epoch().count());
  }
  // Returns whether the disk counts as slow. Reads the clock only after a slow alteration.
  bool IsSlow() {
    Clock::rep until = until_.load(std::memory_order_relaxed);
    if (until == 0) return false;
    if (Clock::now().time_since_epoch().count() < until) return true;
    until_.compare_exchange_strong(until, 0);
    return until_.load(std::memory_order_relaxed) != 0;
  }

 private:
  std::atomic<Clock::rep> until_{0};  // 0 if the disk is not slow
};

}  // namespace tandem::meta
