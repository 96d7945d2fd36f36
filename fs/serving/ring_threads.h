// The threads that take requests from the kernel over io_uring (uring_abi.h) and run the handlers.
//
// The kernel has a queue of entries for each processor, and gives a request to an entry of the
// processor that asks. Here every entry has a thread and an io_uring of its own, bound to that
// processor. So a request wakes no other processor, and a handler that waits for a commit or a disk
// holds up nobody while its processor has another entry. The kernel takes the entry that was
// answered last: as long as handlers do not wait, one thread serves a processor, with warm caches.
// When all of them wait, further requests of the processor wait in the kernel. (Entries cannot be
// added by then: the kernel gives waiting requests only to entries that are answered.)
//
// A reply is written into the buffers of the request's entry, by any thread; the entry's own thread
// commits it, in the system call with which it waits for the next request. Forgets and interrupts
// still come over /dev/fuse (serving_threads.h).
//
// Start and Stop belong to one thread at a time; any thread may call the other functions.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "fs/serving/fuse_api.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"

struct iovec;

namespace tandem::fs {

class RingThreads {
 public:
  struct Options {
    fuse_session* session;  // borrowed
    int device;             // the session's /dev/fuse, borrowed
    size_t payload_bytes;   // of a request or a reply at most
  };

  // Fails if this process can make no io_uring of the kind that is needed.
  static Status Probe();

  explicit RingThreads(const Options& options);
  ~RingThreads();
  RingThreads(const RingThreads&) = delete;
  RingThreads& operator=(const RingThreads&) = delete;

  // Starts the threads. Called once, before io_uring is agreed on with the kernel, which from then
  // on lets every request wait until each processor has an entry. Fails if one cannot have any.
  Status Start() EXCLUDES(mutex_);
  // Registers the entries. Called when the kernel has taken the reply to FUSE_INIT.
  void Register() EXCLUDES(mutex_);
  // Ends the threads as soon as the requests being handled have been answered; does not wait for
  // answers by other threads. Requires that WakeSignal is handled (wake_signal.h).
  void Stop() EXCLUDES(mutex_);

  // If the request came over a ring, takes the reply (as it would be written to /dev/fuse) and
  // returns true.
  bool Answer(uint64_t unique, const iovec* reply, int count);
  // Returns where a reply's content may be put, so that it need not be copied: the payload of the
  // request that this thread handles. Empty if that came over /dev/fuse.
  static std::span<char> ReplySpace();
  // Whether any request has come.
  bool used() const { return used_.load(std::memory_order_relaxed); }

 private:
  class Entry;
  struct Current;

  static void* ThreadEntry(void* entry);
  static Current& current();
  // Called by the thread of the entry at `place`: returns when it may register, false if it is to
  // end.
  bool AwaitRegistration(size_t place, Status opened) EXCLUDES(mutex_);

  const Options options_;
  std::atomic<bool> used_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<unsigned> serving_{0};  // threads that have not ended
  std::vector<std::unique_ptr<Entry>> entries_;
  Mutex mutex_;
  CondVar changed_;
  size_t waiting_ GUARDED_BY(mutex_) = 0;  // threads that have opened their ring
  size_t failed_ GUARDED_BY(mutex_) = 0;
  Status failure_ GUARDED_BY(mutex_);  // the first
  bool registering_ GUARDED_BY(mutex_) = false;
  size_t most_registered_ GUARDED_BY(mutex_) = std::numeric_limits<size_t>::max();
};

}  // namespace tandem::fs
