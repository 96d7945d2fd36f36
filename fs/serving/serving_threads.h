// The threads that read requests from /dev/fuse and run the handlers.
//
// One or two threads wait in read(2), as reader_policy.h decides; the others are parked. With two
// readers, another thread is woken or started whenever none reads any more, because handlers may
// wait for a commit or the disk. With one reader, the thread handles what it reads, and another one
// is woken only if the watch thread, which looks once a tick, finds it asleep.
//
// Up to `max_threads` threads serve requests that do not block. Threads that handle blocking
// requests (blocking_requests.h) come on top, up to kBlockingPerThread times as many: they are the
// ones that a slow disk holds up. Surplus threads end after kSurplusThreadLinger.
//
// Constructed and run by one thread. Interrupt may be called by any thread.
#pragma once

#include <pthread.h>

#include <optional>
#include <vector>

#include "fs/serving/blocking_requests.h"
#include "fs/serving/fuse_api.h"
#include "fs/serving/reader_policy.h"
#include "fs/serving/transport.h"
#include "meta/base/mutex.h"

namespace tandem::fs {

class ServingThreads {
 public:
  struct Options {
    unsigned max_threads;
    bool adaptive_readers;  // the ReaderPolicy's `adaptive`
    bool spins;             // reader_spin.h; not with one processor, nor beside rings
    const Transport* transport;
  };
  // `session` and the transport are borrowed.
  ServingThreads(fuse_session* session, const Options& options);
  ~ServingThreads();
  ServingThreads(const ServingThreads&) = delete;
  ServingThreads& operator=(const ServingThreads&) = delete;

  // Serves in this thread and others until the session is exited or unmounted. Returns 0 or a
  // negative errno. Must be called once.
  int Run() EXCLUDES(mutex_);

  // Makes Run return as soon as the requests being handled have been answered. Requires that the
  // session was exited (fuse_session_exit). Returns when the last thread has stopped serving.
  void Interrupt() EXCLUDES(mutex_);

 private:
  static void* ThreadEntry(void* self);
  static void* WatchEntry(void* self);
  void Serve() EXCLUDES(mutex_);
  // Parks until another reader is needed. Returns false if this thread is to end.
  bool BecomeReader() EXCLUDES(mutex_);
  // Called by a reader that got a request. `state`: this thread's /proc/.../stat.
  BlockingRequests::Admission StopReading(int state, RequestBuffer& request) EXCLUDES(mutex_);
  // Handles the request and, if it was a counted one, the queued ones after it.
  void Handle(BlockingRequests::Admission admission, RequestBuffer& request) EXCLUDES(mutex_);
  std::optional<RequestBuffer> NextBlocking() EXCLUDES(mutex_);
  bool IsSurplus() REQUIRES(mutex_);
  // Takes this thread, whose Serve is about to return, off the list.
  void Leave() EXCLUDES(mutex_);
  // Wakes a parked thread or starts one, so that it reads.
  void AddReader() REQUIRES(mutex_);
  void Watch() EXCLUDES(mutex_);
  // Waits for the next tick, or, after kQuietTicksToSleep ticks without a request, for the next
  // request. Returns false when serving ends.
  bool AwaitTick() EXCLUDES(mutex_);
  // Samples the thread that received the last request.
  ServingActivity Sample() EXCLUDES(mutex_);
  void End(int result) EXCLUDES(mutex_);

  fuse_session* const session_;
  const unsigned max_threads_;
  ReaderPolicy policy_;
  const bool spins_;
  const Transport& transport_;
  Mutex mutex_;
  CondVar reader_needed_;  // parked threads wait for it
  CondVar watch_wanted_;   // the watch waits for it
  CondVar thread_left_;
  std::vector<pthread_t> threads_ GUARDED_BY(mutex_);  // but the one in Run
  std::vector<pthread_t> left_ GUARDED_BY(mutex_);     // about to end; to be joined
  pthread_t first_ GUARDED_BY(mutex_) = {};
  unsigned serving_ GUARDED_BY(mutex_) = 0;  // threads in Serve, or started for it
  unsigned readers_ GUARDED_BY(mutex_) = 0;
  unsigned parked_ GUARDED_BY(mutex_) = 0;
  BlockingRequests blocking_ GUARDED_BY(mutex_);
  uint64_t received_ GUARDED_BY(mutex_) = 0;  // requests so far
  bool watching_ GUARDED_BY(mutex_) = false;  // if false, the watch sleeps until a request comes
  uint64_t seen_ GUARDED_BY(mutex_) = 0;      // received_ at the last tick
  int quiet_ticks_ GUARDED_BY(mutex_) = 0;
  int handler_state_ GUARDED_BY(mutex_) = -1;  // `state` of the thread with the last request
  bool stopping_ GUARDED_BY(mutex_) = false;
  int result_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::fs
