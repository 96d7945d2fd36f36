// The gate that every changing operation passes shared and a cut takes exclusively (DESIGN section
// 4). Passing costs two uncontended atomic operations: each thread counts itself in a slot of its
// own, so eight writers do not fight over one cache line.
//
// Any thread. A thread passes at most once at a time.
#pragma once

#include <array>
#include <atomic>
#include <chrono>

#include "meta/base/mutex.h"

namespace tandem::meta {

class Gate {
 public:
  // Waits while a cut holds the gate. Returns the slot to leave by.
  int Enter() EXCLUDES(mutex_);
  void Leave(int slot);

  // Closes the gate and waits until nobody is inside. False: somebody still was when `patience` had
  // passed; the gate is open again. One closer at a time (the caller sees to that).
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
