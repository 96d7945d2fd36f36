// An estimate of how many names of a directory the kernel knows because lookups told it of them.
// When the directory is listed, readdirplus leaves out the attributes of as many names, since to
// look them up is most of the cost of a listing. (git status looks up the names in its index and
// then lists.)
//
// It is an estimate because the kernel does not say which names it forgets. If it is too high, the
// kernel looks up single names later. Those lookups would be counted again, so a count expires
// after kKnownNamesSeconds.
//
// Any thread.
#pragma once

#include <time.h>

#include <atomic>
#include <cstdint>
#include <limits>

#include "fs/objects/tuning.h"

namespace tandem::fs {

class KnownNames {
 public:
  // Seconds since an arbitrary moment, modulo 2^16.
  using Time = uint16_t;

  static Time Now() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<Time>(now.tv_sec);
  }

  void Add(Time now = Now()) {
    State state = state_.load(std::memory_order_relaxed);
    State next;
    do {
      next = {At(state, now), now};
      if (next.count != std::numeric_limits<uint16_t>::max()) ++next.count;
    } while (!state_.compare_exchange_weak(state, next, std::memory_order_relaxed));
  }
  // Takes the count of `other`, which becomes 0.
  void MoveFrom(KnownNames& other, Time now = Now()) {
    state_ = {At(other.state_.exchange({}), now), now};
  }
  // Subtracts one. Returns false if the count is 0.
  bool Consume(Time now = Now()) {
    State state = state_.load(std::memory_order_relaxed);
    uint16_t known = 0;
    do {
      known = At(state, now);
      if (known == 0) return false;
    } while (!state_.compare_exchange_weak(state, {static_cast<uint16_t>(known - 1), state.latest},
                                           std::memory_order_relaxed));
    return true;
  }

 private:
  struct alignas(uint32_t) State {  // one word, so that the atomic is lock-free
    uint16_t count = 0;
    Time latest = 0;  // when a name was last added
  };

  static uint16_t At(State state, Time now) {
    return static_cast<Time>(now - state.latest) <= kKnownNamesSeconds ? state.count : uint16_t{0};
  }

  std::atomic<State> state_;
  static_assert(decltype(state_)::is_always_lock_free);
};

}  // namespace tandem::fs
