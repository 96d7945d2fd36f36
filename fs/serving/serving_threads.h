// The threads that read requests from the kernel and run the handlers.
//
// One or two wait in read(2), as reader_policy.h says; the rest are parked. With two, another one
// is woken, or started, when nobody waits any more: handlers may wait (for a commit, for the disk).
// With one, which handles what it reads, that is only done when the watch, which looks once a tick,
// finds it blocked.
//
// Up to `max_threads` are there for requests that should not take long. Threads that handle one
// that may (blocking_requests.h) come on top, up to kBlockingPerThread times as many: they are
// where the requests wait that a slow disk holds up, while the others go on. Threads that are no
// longer needed end after a while.
//
// Made and run by one thread; Interrupt may be called from any.
#pragma once

#include <pthread.h>

#include <optional>
#include <vector>

#include "fs/serving/blocking_requests.h"
#include "fs/serving/fuse_api.h"
#include "fs/serving/reader_policy.h"
#include "meta/base/mutex.h"

namespace tandem::fs {

class ServingThreads {
 public:
  // `session` is borrowed. `adaptive_readers`: as reader_policy.h has it.
  ServingThreads(fuse_session* session, unsigned max_threads, bool adaptive_readers);
  ~ServingThreads();
  ServingThreads(const ServingThreads&) = delete;
  ServingThreads& operator=(const ServingThreads&) = delete;

  // Serves in this thread and in others until the session is exited, or unmounted. Returns 0 or a
  // negative errno. Call once.
  int Run() EXCLUDES(mutex_);

  // Makes Run return once what is being handled has been answered. The session must have been
  // exited (fuse_session_exit). Returns when Run is about to.
  void Interrupt() EXCLUDES(mutex_);

 private:
  static void* ThreadEntry(void* self);
  static void* WatchEntry(void* self);
  void Serve() EXCLUDES(mutex_);
  // Waits until another reader is needed. False: this thread is not any more, or it is over.
  bool BecomeReader() EXCLUDES(mutex_);
  // This thread has something to do now, unless that is put off. `state`: its line in /proc.
  BlockingRequests::Turn CeaseReading(int state, RequestBuffer& request) EXCLUDES(mutex_);
  // Handles the request it has read, and in its place those that were put off meanwhile.
  void Handle(BlockingRequests::Turn turn, RequestBuffer& request) EXCLUDES(mutex_);
  std::optional<RequestBuffer> NextBlocking() EXCLUDES(mutex_);
  bool IsSurplus() REQUIRES(mutex_);
  // Of this thread, whose Serve is about to return.
  void Leave() EXCLUDES(mutex_);
  // Nobody reads, and somebody should.
  void Recruit() REQUIRES(mutex_);
  void Watch() EXCLUDES(mutex_);
  // Waits for the next tick; for the next request, if there was none lately. False: it is over.
  bool AwaitTick() EXCLUDES(mutex_);
  ServingActivity Look() EXCLUDES(mutex_);
  void End(int result) EXCLUDES(mutex_);

  fuse_session* const session_;
  const unsigned max_threads_;
  ReaderPolicy policy_;
  Mutex mutex_;
  CondVar needed_;  // of parked threads
  CondVar watched_;
  CondVar ended_one_;
  std::vector<pthread_t> threads_ GUARDED_BY(mutex_);  // beside the one that is in Run
  std::vector<pthread_t> left_ GUARDED_BY(mutex_);     // have no more to do than to end
  pthread_t first_ GUARDED_BY(mutex_) = {};
  unsigned serving_ GUARDED_BY(mutex_) = 0;  // threads in Serve, or on their way into it
  unsigned readers_ GUARDED_BY(mutex_) = 0;
  unsigned parked_ GUARDED_BY(mutex_) = 0;
  BlockingRequests blocking_ GUARDED_BY(mutex_);
  uint64_t received_ GUARDED_BY(mutex_) = 0;  // requests
  bool watching_ GUARDED_BY(mutex_) = false;  // otherwise the watch sleeps until a request comes
  uint64_t seen_ GUARDED_BY(mutex_) = 0;      // how many requests, at the last tick
  int quiet_ticks_ GUARDED_BY(mutex_) = 0;
  int handler_state_ GUARDED_BY(mutex_) = -1;  // of the thread that received the last request
  bool over_ GUARDED_BY(mutex_) = false;
  int result_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::fs
