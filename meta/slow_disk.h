// Whether the source's disk makes changing operations wait, as far as lately seen. Any thread.
//
// A write into the kernel's cache takes microseconds, until so much is dirty that the kernel makes
// writers sleep to the pace of their disk, in the write call (balance_dirty_pages), a tenth of a
// second each time.
#pragma once

#include <atomic>
#include <chrono>

namespace tandem::meta {

class SlowDisk {
 public:
  using Clock = std::chrono::steady_clock;

  // An alteration longer than this is slow: it would cost a cut its first try at the gate.
  static constexpr std::chrono::milliseconds kSlow{3};
  // How long a slow one is taken to say something about the next.
  static constexpr std::chrono::seconds kRemembered{2};

  void Note(Clock::duration taken, Clock::time_point now) {
    if (taken >= kSlow) until_.store((now + kRemembered).time_since_epoch().count());
  }
  // Reads the clock only after something slow.
  bool IsSlow() {
    Clock::rep until = until_.load(std::memory_order_relaxed);
    if (until == 0) return false;
    if (Clock::now().time_since_epoch().count() < until) return true;
    until_.compare_exchange_strong(until, 0);
    return until_.load(std::memory_order_relaxed) != 0;
  }

 private:
  std::atomic<Clock::rep> until_{0};  // 0: nothing slow was seen
};

}  // namespace tandem::meta
