// Which files the kernel has written back from its page cache, noted only while somebody wants to
// know. Any thread.
#pragma once

#include <atomic>
#include <set>
#include <utility>

#include "fs/serving/fuse_api.h"
#include "meta/base/mutex.h"

namespace tandem::fs {

class WritebackLog {
 public:
  // Called by the handler, before the kernel is answered.
  void Note(fuse_ino_t node) EXCLUDES(mutex_) {
    if (!wanted_.load(std::memory_order_relaxed)) return;
    MutexLock lock(mutex_);
    nodes_.insert(node);
  }

  // What has been written back since the last call. The first call begins the log.
  std::set<fuse_ino_t> Take() EXCLUDES(mutex_) {
    wanted_ = true;
    MutexLock lock(mutex_);
    return std::exchange(nodes_, {});
  }

 private:
  std::atomic<bool> wanted_{false};
  Mutex mutex_;
  std::set<fuse_ino_t> nodes_ GUARDED_BY(mutex_);
};

}  // namespace tandem::fs
