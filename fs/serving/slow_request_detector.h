// Whether requests have waited for the disk lately. Tells whether it is worth a thread switch to
// hand a blocking request to another thread (blocking_pool.h). Any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "fs/serving/tuning.h"

namespace tandem::fs {

class SlowRequestDetector {
 public:
  using Clock = std::chrono::steady_clock;

  // Lives while this thread handles a request.
  class Scope {
   public:
    explicit Scope(SlowRequestDetector& detector)
        : detector_(detector), begun_(Now()), slot_(detector.SlotOfThisThread()) {
      slot_.store(begun_, std::memory_order_relaxed);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() {
      slot_.store(0, std::memory_order_relaxed);
      const int64_t now = Now();
      if (now - begun_ >= Ns(kSlowRequest)) detector_.until_.store(now + Ns(kSlowRequestMemory));
    }

   private:
    SlowRequestDetector& detector_;
    const int64_t begun_;
    std::atomic<int64_t>& slot_;
  };

  // Returns whether a request took kSlowRequest within the last kSlowRequestMemory, or takes that
  // long now. A thread that shares its slot may be missed until its request ends.
  bool SeesSlow() const {
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

  std::atomic<int64_t> until_{0};  // slow requests are expected until then
  std::atomic<size_t> next_{0};
  // When the request being handled began, per slot; 0: none.
  std::array<std::atomic<int64_t>, kDetectorSlots> begun_ = {};
};

}  // namespace tandem::fs
