#include "meta/capture/change_signal.h"

#include <time.h>

#include <utility>

namespace tandem::meta {
namespace {

int64_t NsBy(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace

int64_t WallTimeNs() { return NsBy(CLOCK_REALTIME); }
int64_t BootTimeNs() { return NsBy(CLOCK_BOOTTIME); }

void ChangeSignal::NoteChange() {
  // Only the first change of an epoch finds the flag unset.
  if (has_changes_.load() || has_changes_.exchange(true)) return;
  MutexLock lock(mutex_);
  first_change_ns_ = BootTimeNs();
  ++wakes_;
  woken_.NotifyAll();
}

int64_t ChangeSignal::BeginEpoch() {
  MutexLock lock(mutex_);
  has_changes_ = false;
  return std::exchange(first_change_ns_, 0);
}

int64_t ChangeSignal::first_change_ns() {
  MutexLock lock(mutex_);
  return first_change_ns_;
}

uint64_t ChangeSignal::wakes() {
  MutexLock lock(mutex_);
  return wakes_;
}

void ChangeSignal::Wait(uint64_t seen, CondVar::Clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (wakes_ == seen) {
    if (!woken_.WaitUntil(mutex_, deadline)) return;
  }
}

void ChangeSignal::WakeAll() {
  MutexLock lock(mutex_);
  ++wakes_;
  woken_.NotifyAll();
}

}  // namespace tandem::meta
