// What a request needs done before it can be answered, and a handler may not wait for: what makes
// the kernel send other requests. Runs on threads of its own.
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

  // Starts `call`, which throws nothing. False: it was not, because the mount ends or there are no
  // more threads.
  bool Start(std::function<void()> call) EXCLUDES(mutex_);
  // Waits for all that was started, while requests are still served. Nothing more is started.
  void Finish() EXCLUDES(mutex_);

 private:
  void NoteEnd() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar ended_;
  int running_ GUARDED_BY(mutex_) = 0;
  bool over_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::fs
