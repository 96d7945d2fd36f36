// Runs work that a request needs before it can be answered, but that makes the kernel send other
// requests, so that no handler may wait for it. Each call runs on a thread of its own, which is
// bound to no processor: those that serve the rings are, and what the call starts must not depend
// on one whose entries all wait for such calls. For the same reason there are few at a time.
//
// Any thread.
#pragma once

#include <functional>

#include "meta/base/mutex.h"

namespace tandem::fs {

class DelayedCalls {
 public:
  DelayedCalls() = default;
  ~DelayedCalls() { Finish(); }
  DelayedCalls(const DelayedCalls&) = delete;
  DelayedCalls& operator=(const DelayedCalls&) = delete;

  enum class Started {
    kYes,
    kTooMany,  // kMostDelayedCalls are running
    kNo,       // after Finish, or no thread can be started
  };
  // Starts `call`, which must not throw, or nothing.
  Started Start(std::function<void()> call) EXCLUDES(mutex_);
  // Waits until all calls have returned, and accepts no more. Requests must still be served.
  void Finish() EXCLUDES(mutex_);

 private:
  static void Unbind();
  void NoteEnd() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar ended_;
  int running_ GUARDED_BY(mutex_) = 0;
  bool finished_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::fs
