// How many threads wait for requests at a time: one or two.
//
// One is best while handlers only compute. It stays on its processor with warm caches and leaves
// the other processors to the callers. (With two waiting threads the kernel wakes the one that has
// waited longest, so they alternate, each with cold caches.) Two are needed if handlers wait for a
// disk or a commit, or if one thread is always busy while processors are idle.
//
// The policy samples what the one thread is doing once a tick. It does not look at how long
// requests take: a thread that waits for a processor is slow too, and a second thread would not
// help it.
//
// Tick is called by one thread, Readers by any.
#pragma once

#include <algorithm>
#include <atomic>

#include "fs/serving/tuning.h"

namespace tandem::fs {

// What the serving thread was doing when it was sampled.
enum class ServingActivity {
  kReading,  // waiting for a request
  kRunning,  // handling a request; runnable
  kBlocked,  // handling a request; asleep
};

class ReaderPolicy {
 public:
  // If `adaptive` is false, Readers always returns 2 (tandemfs --disable reader-policy).
  explicit ReaderPolicy(unsigned processors, bool adaptive = true)
      : adaptive_(adaptive), spare_processors_(processors >= kProcessorsToSpare) {}

  // Called once per kReaderTick. `activity` is ignored while there are two readers.
  void Tick(ServingActivity activity) {
    const int left = left_.load(std::memory_order_relaxed);
    if (left > 0) {
      left_.store(left - 1, std::memory_order_relaxed);
      ticks_of_one_ = 0;
      return;
    }
    ++ticks_of_one_;
    running_ = activity == ServingActivity::kRunning ? running_ + 1 : 0;
    const bool would_help = activity == ServingActivity::kBlocked ||
                            (spare_processors_ && running_ >= kTicksAlwaysBusy);
    if (!would_help) return;
    // If help is needed again soon, two readers stay for twice as long.
    const bool again = ticks_of_one_ <= kTicksUntilSettled;
    ticks_of_two_ = again ? std::min(2 * ticks_of_two_, kMaxTicksOfTwo) : kTicksOfTwo;
    left_.store(ticks_of_two_, std::memory_order_relaxed);
  }

  unsigned Readers() const {
    return !adaptive_ || left_.load(std::memory_order_relaxed) > 0 ? 2 : 1;
  }

 private:
  const bool adaptive_;
  const bool spare_processors_;
  int running_ = 0;  // ticks in a row at which the reader was running
  int ticks_of_one_ = kTicksUntilSettled;
  int ticks_of_two_ = kTicksOfTwo;
  std::atomic<int> left_{0};  // ticks for which there are still two readers
};

}  // namespace tandem::fs
