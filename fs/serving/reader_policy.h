// How many threads should wait for requests at a time.
//
// One is best while handlers only compute: it stays on its processor with warm caches, and leaves
// the others to those who make the requests. (Of two waiting threads the kernel wakes the one that
// has waited longest: they take turns, each with cold caches.) Two are needed where handlers wait
// for a disk or a commit, and where one thread is always busy while processors are idle. What the
// one thread does is looked at once a tick, which shows how its time goes. How long requests take
// would not show it: a thread that must let others run is slow too, and then another one is the
// last thing it needs.
//
// Tick by one thread, Readers by any.
#pragma once

#include <algorithm>
#include <atomic>

#include "fs/serving/tuning.h"

namespace tandem::fs {

// What the thread that serves requests is found doing.
enum class ServingActivity {
  kReading,  // waits for a request
  kRunning,  // handles one: computes, or would if it had a processor
  kBlocked,  // handles one, and waits
};

class ReaderPolicy {
 public:
  // `adaptive`: false for two readers at all times (tandemfs --disable reader-policy).
  explicit ReaderPolicy(unsigned processors, bool adaptive = true)
      : adaptive_(adaptive), spare_processors_(processors >= kProcessorsToSpare) {}

  // With one reader: what it does. With two: anything.
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
    // The sooner the need shows again, the longer it is taken to last.
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
  int running_ = 0;  // ticks in a row
  int ticks_of_one_ = kTicksUntilSettled;
  int ticks_of_two_ = kTicksOfTwo;
  std::atomic<int> left_{0};  // ticks with two readers
};

}  // namespace tandem::fs
