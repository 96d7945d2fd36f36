// How many threads should wait for requests at a time.
//
// One is best while handlers only compute: it stays on its processor with warm caches, and leaves
// the others to those who make the requests. (Of two waiting threads the kernel wakes the one that
// has waited longest: they take turns, each with cold caches.) More are needed where handlers wait
// for a disk or a commit, and where one thread is always busy while processors are idle. Both are
// seen in how long requests take, so one that takes long counts for several that do not.
//
// Any thread; what several say at the same time may get lost, which does no harm.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>

namespace tandem::fs {

class ReaderPolicy {
 public:
  using Duration = std::chrono::steady_clock::duration;

  explicit ReaderPolicy(unsigned processors) : spare_processors_(processors >= kManyProcessors) {}

  // A thread has waited for a request and then handled it.
  void Handled(Duration waited, Duration took) {
    const bool others_would_help = took > kLong || (spare_processors_ && waited * kBusy < took);
    const int demand = demand_.load(std::memory_order_relaxed);
    const int now = others_would_help ? std::min(demand + kWeight, kMaxDemand) : demand - 1;
    if (now >= 0) demand_.store(now, std::memory_order_relaxed);
  }

  unsigned Readers() const { return demand_.load(std::memory_order_relaxed) > 0 ? 2 : 1; }

 private:
  // Longer than what a handler that meets cached data takes.
  static constexpr std::chrono::microseconds kLong{150};
  // A thread that waits a quarter of the time or less has requests waiting for it.
  static constexpr int kBusy = 4;
  static constexpr int kWeight = 8;
  static constexpr int kMaxDemand = 256;
  // With fewer, those who make requests need the others.
  static constexpr unsigned kManyProcessors = 4;

  const bool spare_processors_;
  std::atomic<int> demand_{0};
};

}  // namespace tandem::fs
