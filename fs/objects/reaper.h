// Closes descriptors of objects that have no name any more, on a thread of its own. The last close
// frees the object's blocks, which takes about as long as the unlink did. So rm -r does both in
// parallel, and no handler waits for a huge file to be freed.
//
// Objects whose descriptors wait here still take up space: call Finish before statfs, and before a
// request fails for lack of room. Any thread. No lock is held while a descriptor is closed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"

namespace tandem::fs {

class Reaper {
 public:
  // Owns a descriptor: the last owner closes it.
  using Open = std::shared_ptr<void>;

  Reaper();
  ~Reaper();  // closes what is queued
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Queues the descriptor to be closed within milliseconds. If kMaxReaperQueue are queued, closes
  // it before it returns.
  void Close(Open open) EXCLUDES(mutex_);
  // Waits until all that is queued now is closed, but for `timeout` at most (a frozen filesystem
  // frees nothing). Returns false if nothing was queued, or on timeout.
  bool Finish(std::chrono::milliseconds timeout) EXCLUDES(mutex_);

 private:
  void Run() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar work_added_;
  CondVar batch_closed_;
  std::vector<Open> queue_ GUARDED_BY(mutex_);
  uint64_t queued_ GUARDED_BY(mutex_) = 0;  // descriptors queued so far
  uint64_t closed_ GUARDED_BY(mutex_) = 0;  // descriptors closed so far
  bool hurry_ GUARDED_BY(mutex_) = false;   // Finish waits: do not wait for a full batch
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::fs
