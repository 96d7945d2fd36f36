// Limits how much a verify reads in a second. Any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "meta/base/mutex.h"

namespace tandem::replica {

class VerifyRate {
 public:
  // Bytes of content and files a second; 0: no limit.
  VerifyRate(uint64_t bytes, uint64_t files) : bytes_(bytes), files_(files) {}

  // Waits until so much may be read, or `stopping`.
  void Take(uint64_t bytes, uint64_t files, const std::atomic<bool>& stopping) EXCLUDES(mutex_) {
    if (bytes_ == 0 && files_ == 0) return;
    using std::chrono::duration;
    using std::chrono::duration_cast;
    duration<double> cost(0);
    if (bytes_ != 0)
      cost = duration<double>(static_cast<double>(bytes) / static_cast<double>(bytes_));
    if (files_ != 0) {
      cost = std::max(cost,
                      duration<double>(static_cast<double>(files) / static_cast<double>(files_)));
    }
    Clock::time_point begin;
    {
      MutexLock lock(mutex_);
      begin = next_ = std::max(next_, Clock::now());
      next_ += duration_cast<Clock::duration>(cost);
    }
    constexpr std::chrono::milliseconds kStep{100};
    while (!stopping && Clock::now() < begin) {
      std::this_thread::sleep_for(std::min<Clock::duration>(kStep, begin - Clock::now()));
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  const uint64_t bytes_;
  const uint64_t files_;
  Mutex mutex_;
  Clock::time_point next_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
