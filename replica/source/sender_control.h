// Stops, pauses and wakes a sender's thread.
//
// Any thread. Nothing else is locked while the mutex is held.
#pragma once

#include <atomic>
#include <chrono>

#include "meta/base/mutex.h"

namespace tandem::replica {

class SenderControl {
 public:
  explicit SenderControl(bool paused) : paused_(paused) {}

  // For good. Wakes the thread.
  void Stop() {
    stopping_ = true;
    Wake();
  }
  void SetPaused(bool paused) {
    paused_ = paused;
    Wake();
  }
  void Wake() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    woken_.NotifyAll();
  }

  bool stopping() const { return stopping_.load(); }
  bool paused() const { return paused_.load(); }
  bool may_go_on() const { return !stopping() && !paused(); }

  // Sleeps for `time`, or until one of the calls above wakes the thread. Returns at once after
  // Stop.
  void Sleep(std::chrono::milliseconds time) EXCLUDES(mutex_) {
    const auto deadline = CondVar::Clock::now() + time;
    MutexLock lock(mutex_);
    if (!stopping()) woken_.WaitUntil(mutex_, deadline);
  }

 private:
  std::atomic<bool> stopping_{false};
  std::atomic<bool> paused_;
  Mutex mutex_;
  CondVar woken_;
};

}  // namespace tandem::replica
