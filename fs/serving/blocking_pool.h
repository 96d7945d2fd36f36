// A pool of threads for blocking requests (may_block.h) that arrive over io_uring, where one thread
// reads the requests of each processor and handles them one after the other. Requests read from
// /dev/fuse need no pool: serving_threads.h.
//
// Starts up to `max_threads` threads as they are needed. Further jobs wait in order. The number of
// entries of the rings bounds how many jobs can wait.
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
  // Must not throw.
  using Job = std::function<void()>;

  explicit BlockingPool(unsigned max_threads);
  ~BlockingPool() { Close(); }
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Queues the job for a thread of the pool. Returns false if the pool is closed, or has no thread
  // and cannot start one: then the caller runs the job.
  [[nodiscard]] bool Run(Job job) EXCLUDES(mutex_);
  // Accepts no further jobs. Waits until all queued jobs have run and the threads have ended.
  void Close() EXCLUDES(mutex_);

 private:
  static void* ThreadEntry(void* self);
  void Work() EXCLUDES(mutex_);
  // Waits for a job. Returns an empty one if this thread is to end.
  Job Next() EXCLUDES(mutex_);
  bool StartThread() REQUIRES(mutex_);

  const unsigned max_threads_;
  // Of the thread that created the pool. Ring threads are bound to one processor; the pool's are
  // not.
  cpu_set_t processors_;
  Mutex mutex_;
  CondVar job_added_;
  CondVar thread_ended_;
  std::deque<Job> waiting_ GUARDED_BY(mutex_);
  unsigned threads_ GUARDED_BY(mutex_) = 0;
  unsigned idle_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::fs
