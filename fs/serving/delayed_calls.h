// Runs work that a request needs before it can be answered, but that makes the kernel send other
// requests, so that no handler may wait for it. Each call runs on a thread of its own.
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

  // Starts `call`, which must not throw. Returns false, and starts nothing, after Finish or if no
  // thread can be started.
  bool Start(std::function<void()> call) EXCLUDES(mutex_);
  // Waits until all calls have returned, and accepts no more. Requests must still be served.
  void Finish() EXCLUDES(mutex_);

 private:
  void NoteEnd() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar ended_;
  int running_ GUARDED_BY(mutex_) = 0;
  bool finished_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::fs
