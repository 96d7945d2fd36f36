// Waits actively for the next request, for a bounded time after the last one, as the kernel's
// haltpoll does for interrupts. A read of /dev/fuse that sleeps lets its processor sleep too, and
// on a virtual machine waking that takes longer than most requests.
//
// The time grows while requests come within it, and shrinks when none does, to none. What was
// waited in vain is at most kSpinShare of a processor. With one processor there is nothing to wait
// for actively: the caller needs it.
//
// Used by the one thread that reads.
#pragma once

#include <poll.h>

#include <algorithm>
#include <chrono>

#include "fs/serving/tuning.h"

namespace tandem::fs {

class ReaderSpin {
 public:
  using Clock = std::chrono::steady_clock;
  using Duration = std::chrono::nanoseconds;

  // Returns when `fd` can be read, or when it is time to sleep.
  void Await(int fd) {
    begun_ = Clock::now();
    allowance_ = std::min(allowance_ + Duration((begun_ - counted_).count() / kSpinShare),
                          Duration(kMostSpinInVain));
    counted_ = begun_;
    if (limit_ == Duration::zero() || allowance_ < limit_) return;
    pollfd wanted = {.fd = fd, .events = POLLIN, .revents = 0};
    do {
      if (poll(&wanted, 1, 0) != 0) return;
    } while (Clock::now() - begun_ < limit_);
    allowance_ -= limit_;
    limit_ = limit_ / 2 < kLeastSpin ? Duration::zero() : limit_ / 2;
  }

  // Called when a request was read, after Await.
  void Received() {
    const Duration waited = Clock::now() - begun_;
    if (waited > kMostSpin) return;
    // Short of what it took, or enough: a little more than it took, next time.
    limit_ = std::clamp(std::max(limit_, 2 * waited), Duration(kLeastSpin), Duration(kMostSpin));
  }

  // How long Await waits next.
  Duration limit() const { return limit_; }

 private:
  Duration limit_{0};
  Duration allowance_{0};
  Clock::time_point counted_{};
  Clock::time_point begun_{};
};

}  // namespace tandem::fs
