// Records which files the kernel has written back from its page cache. Off until the first Take, so
// that a write costs no lock. Any thread.
#pragma once

#include <atomic>
#include <set>
#include <utility>

#include "fs/serving/fuse_api.h"
#include "meta/base/mutex.h"

namespace tandem::fs {

class WritebackLog {
 public:
  // Called by the write handler before it replies.
  void Note(fuse_ino_t node) EXCLUDES(mutex_) {
    if (!enabled_.load(std::memory_order_relaxed)) return;
    MutexLock lock(mutex_);
    nodes_.insert(node);
  }

  // Returns the files written back since the last call. The first call turns the log on.
  std::set<fuse_ino_t> Take() EXCLUDES(mutex_) {
    enabled_ = true;
    MutexLock lock(mutex_);
    return std::exchange(nodes_, {});
  }

 private:
  std::atomic<bool> enabled_{false};
  Mutex mutex_;
  std::set<fuse_ino_t> nodes_ GUARDED_BY(mutex_);
};

}  // namespace tandem::fs
