// Whether requests wait for the disk beneath, as seen lately, where each that is handed to another
// thread costs a switch: in a ring's threads (blocking_pool.h). Any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "fs/serving/tuning.h"

namespace tandem::fs {

class WaitingRequests {
 public:
  using Clock = std::chrono::steady_clock;

  // While it lives, this thread handles a request.
  class Handling {
   public:
    explicit Handling(WaitingRequests& requests)
        : requests_(requests), begun_(Now()), slot_(requests.SlotOfThisThread()) {
      slot_.store(begun_, std::memory_order_relaxed);
    }
    Handling(const Handling&) = delete;
    Handling& operator=(const Handling&) = delete;
    ~Handling() {
      slot_.store(0, std::memory_order_relaxed);
      const int64_t now = Now();
      if (now - begun_ >= Ns(kSlowRequest)) requests_.until_.store(now + Ns(kSlowRequestMemory));
    }

   private:
    WaitingRequests& requests_;
    const int64_t begun_;
    std::atomic<int64_t>& slot_;
  };

  // Some have waited lately, or wait now.
  bool Any() const {
    const int64_t now = Now();
    if (now < until_.load(std::memory_order_relaxed)) return true;
    for (const auto& slot : begun_) {
      const int64_t begun = slot.load(std::memory_order_relaxed);
      if (begun != 0 && now - begun >= Ns(kSlowRequest)) return true;
    }
    return false;
  }

 private:
  static int64_t Now() { return Ns(Clock::now().time_since_epoch()); }
  static constexpr int64_t Ns(std::chrono::nanoseconds time) { return time.count(); }
  std::atomic<int64_t>& SlotOfThisThread() {
    thread_local const size_t mine = next_.fetch_add(1, std::memory_order_relaxed);
    return begun_[mine % kDetectorSlots];
  }

  std::atomic<int64_t> until_{0};
  std::atomic<size_t> next_{0};
  std::array<std::atomic<int64_t>, kDetectorSlots> begun_ = {};  // 0: handles none
};

}  // namespace tandem::fs
