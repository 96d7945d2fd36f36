// Tells waiting threads that the open epoch has changes, and remembers since when it has any.
//
// Any thread. The mutex is held for a few instructions, and nothing else is locked meanwhile.
#pragma once

#include <atomic>
#include <cstdint>

#include "meta/base/mutex.h"

namespace tandem::meta {

class ChangeSignal {
 public:
  // `first_change_ns` (BootTimeNs): of changes that an earlier run has recorded for the open epoch;
  // 0: there are none.
  explicit ChangeSignal(int64_t first_change_ns)
      : has_changes_(first_change_ns != 0), first_change_ns_(first_change_ns) {}

  // The open epoch has changed: wakes all waiting threads if this is the epoch's first change.
  // Called inside the gate, after the change is recorded. Takes the lock once an epoch.
  void NoteChange() EXCLUDES(mutex_);
  // Begins a new epoch, without changes. Returns BootTimeNs of the first change of the one that
  // ends; 0 if it had none. Called while the gate is closed.
  int64_t BeginEpoch() EXCLUDES(mutex_);

  bool has_changes() const { return has_changes_.load(); }
  int64_t first_change_ns() EXCLUDES(mutex_);

  // How often waiting threads have been woken.
  uint64_t wakes() EXCLUDES(mutex_);
  // Waits until wakes() differs from `seen`, or until the deadline.
  void Wait(uint64_t seen, CondVar::Clock::time_point deadline) EXCLUDES(mutex_);
  void WakeAll() EXCLUDES(mutex_);

 private:
  std::atomic<bool> has_changes_;
  Mutex mutex_;
  CondVar woken_;
  uint64_t wakes_ GUARDED_BY(mutex_) = 0;
  int64_t first_change_ns_ GUARDED_BY(mutex_);
};

// Wall time, for people: nanoseconds since the Unix epoch.
int64_t WallTimeNs();
// For lag: nanoseconds since this machine was started, whatever happens to the wall clock.
int64_t BootTimeNs();

}  // namespace tandem::meta
