// About how many names of a directory the kernel knows because it was told one by one, lately: it
// will not need their attributes when it lists the directory, and looking them up is most of the
// cost of a listing (git status looks up what its index names, then lists). An estimate, for the
// kernel does not say which names it forgets: where it is too high, the kernel looks up single
// names later, and those would be counted again; so what is older than a few seconds counts for
// nothing. Any thread.
#pragma once

#include <time.h>

#include <atomic>
#include <cstdint>
#include <limits>

#include "fs/objects/tuning.h"

namespace tandem::fs {

class KnownNames {
 public:
  // Seconds, from any beginning; it may come round.
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
  // `other` is left with none.
  void TakeAllOf(KnownNames& other, Time now = Now()) {
    state_ = {At(other.state_.exchange({}), now), now};
  }
  // Removes one. False if there was none.
  bool Take(Time now = Now()) {
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
  struct alignas(uint32_t) State {  // of one word, which processors exchange as a whole
    uint16_t count = 0;
    Time latest = 0;  // when one was added
  };

  static uint16_t At(State state, Time now) {
    return static_cast<Time>(now - state.latest) <= kKnownNamesSeconds ? state.count : uint16_t{0};
  }

  std::atomic<State> state_;
  static_assert(decltype(state_)::is_always_lock_free);
};

}  // namespace tandem::fs
