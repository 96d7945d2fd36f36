// Threads for requests that may wait long for the disk beneath, where they come over io_uring:
// there one thread reads the requests of each processor, and handles them one after the other.
// (Where they are read from /dev/fuse, serving_threads.h does it without handing anything over.)
//
// Up to `most` threads, started when they are needed; what comes beyond that waits, in order. How
// much can wait is bounded by the rings' entries.
//
// Any thread.
#pragma once

#include <sched.h>

#include <cstddef>
#include <deque>
#include <functional>

#include "meta/base/mutex.h"

namespace tandem::fs {

class BlockingPool {
 public:
  // Throws nothing.
  using Job = std::function<void()>;

  explicit BlockingPool(unsigned most);
  ~BlockingPool() { Close(); }
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Runs the job on another thread, soon. False: it is the caller's to run, because the pool is
  // closed or there are no threads.
  [[nodiscard]] bool Run(Job job) EXCLUDES(mutex_);
  // Takes no more, and waits for all that was taken and for the threads to end.
  void Close() EXCLUDES(mutex_);

 private:
  static void* ThreadEntry(void* self);
  void Work() EXCLUDES(mutex_);
  // Waits for one. Empty: this thread is not needed any more.
  Job Next() EXCLUDES(mutex_);
  bool StartThread() REQUIRES(mutex_);

  const unsigned most_;
  cpu_set_t processors_;  // of the thread that made this: those that read are bound to one each
  Mutex mutex_;
  CondVar given_;
  CondVar ended_;
  std::deque<Job> waiting_ GUARDED_BY(mutex_);
  unsigned threads_ GUARDED_BY(mutex_) = 0;
  unsigned idle_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::fs
