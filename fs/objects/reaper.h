// Closes descriptors of objects that have no name any more, on a thread of its own: the last close
// frees the object's blocks, which takes about as long as taking its name did. An `rm -r` gets both
// done at the same time, and nobody waits while a huge file goes.
//
// What waits to be closed still takes up space: Finish before it is said how much is free, or that
// there is none. Any thread; nothing is closed with a lock held.
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
  // Its last owner closes a descriptor.
  using Open = std::shared_ptr<void>;

  Reaper();
  ~Reaper();  // closes what waits
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Closes it within milliseconds; before it returns if much waits already.
  void Close(Open open) EXCLUDES(mutex_);
  // Waits until what waits now is closed, so long at most (a frozen filesystem frees nothing).
  // False: nothing did, or it is not.
  bool Finish(std::chrono::milliseconds patience) EXCLUDES(mutex_);

 private:
  void Run() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar given_more_;
  CondVar closed_more_;
  std::vector<Open> waiting_ GUARDED_BY(mutex_);
  uint64_t given_ GUARDED_BY(mutex_) = 0;    // descriptors so far
  uint64_t closed_ GUARDED_BY(mutex_) = 0;   // of those
  bool awaited_ GUARDED_BY(mutex_) = false;  // by Finish: no time for more to come
  bool over_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::fs
