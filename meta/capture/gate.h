// The gate: changing operations pass it shared, a cut takes it exclusively (DESIGN section 4).
// Passing costs two uncontended atomic operations, because threads count themselves in different
// slots, so that eight writers do not contend for one cache line.
//
// Any thread. A thread enters at most once at a time.
#pragma once

#include <array>
#include <atomic>
#include <chrono>

#include "meta/base/mutex.h"

namespace tandem::meta {

class Gate {
 public:
  // Waits while the gate is closed. Returns the slot to pass to Leave.
  int Enter() EXCLUDES(mutex_);
  void Leave(int slot);

  // Closes the gate and waits until no operation is inside. Returns false, with the gate open
  // again, if one is still inside after `patience`. Only one thread may close the gate at a time.
  bool Close(std::chrono::microseconds patience) EXCLUDES(mutex_);
  void Open() EXCLUDES(mutex_);

 private:
  static constexpr size_t kSlots = 32;
  struct alignas(64) Slot {
    std::atomic<int> inside{0};
  };

  bool IsEmpty() const;

  std::array<Slot, kSlots> slots_;
  std::atomic<bool> closed_{false};
  Mutex mutex_;
  CondVar opened_;
};

}  // namespace tandem::meta
