// The open files and directories that the kernel knows by number (fuse_file_info's `fh`). The table
// owns them, so those still open when the session ends are closed. The number is the address: the
// kernel releases a handle once and never uses it afterwards.
//
// Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "meta/base/mutex.h"

namespace tandem::fs {

template <typename Handle>
class HandleTable {
 public:
  uint64_t Add(std::unique_ptr<Handle> handle) EXCLUDES(mutex_) {
    const auto number = reinterpret_cast<uint64_t>(handle.get());
    MutexLock lock(mutex_);
    handles_.emplace(number, std::move(handle));
    return number;
  }

  Handle& Get(uint64_t number) const { return *reinterpret_cast<Handle*>(number); }

  // Calls `visit` with each handle until it returns true. `visit` must not block: the lock is held.
  template <typename Visit>
  void VisitAll(const Visit& visit) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    for (const auto& [number, handle] : handles_) {
      if (visit(*handle)) return;
    }
  }

  void Remove(uint64_t number) EXCLUDES(mutex_) {
    // Destroyed after the lock is released: closing may take long.
    std::unique_ptr<Handle> closed;
    MutexLock lock(mutex_);
    const auto at = handles_.find(number);
    closed = std::move(at->second);
    handles_.erase(at);
  }

 private:
  Mutex mutex_;
  std::unordered_map<uint64_t, std::unique_ptr<Handle>> handles_ GUARDED_BY(mutex_);
};

}  // namespace tandem::fs
