// About how many names of a directory the kernel knows because it was told one by one: it will not
// need their attributes when it lists the directory, and looking them up is most of the cost of a
// listing (git status looks up what its index names, then lists). An estimate: where it is too
// high, the kernel looks up single names later. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace tandem::fs {

class KnownNames {
 public:
  void Add() { count_.fetch_add(1, std::memory_order_relaxed); }
  // `other` is left with none.
  void TakeAllOf(KnownNames& other) { count_ = other.count_.exchange(0); }
  // Removes one. False if there was none.
  bool Take() {
    uint32_t now = count_.load(std::memory_order_relaxed);
    while (now > 0 && !count_.compare_exchange_weak(now, now - 1, std::memory_order_relaxed)) {
    }
    return now > 0;
  }

 private:
  std::atomic<uint32_t> count_{0};
};

}  // namespace tandem::fs
