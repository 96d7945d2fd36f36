// O_PATH descriptors of inodes, a bounded number of them: an inode's descriptor may be closed when
// nobody uses it and is opened again by handle when it is needed (open_by_handle_at, which needs
// CAP_DAC_READ_SEARCH; without it every inode keeps its own). Second chance decides which goes.
//
// Any thread. Lock order: the cache's mutex, then an inode's.
#pragma once

#include <cstddef>
#include <list>
#include <memory>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/file_handle.h"

namespace tandem::fs {

class DescriptorCache;

// One inode's place in the cache. Lives as long as the inode.
class CachedDescriptor {
 public:
  using Shared = std::shared_ptr<const UniqueFd>;

  // `handle` is borrowed for the lifetime; empty: the descriptor is never closed.
  CachedDescriptor(DescriptorCache& cache, const FileHandle& handle, UniqueFd fd);
  ~CachedDescriptor();
  CachedDescriptor(const CachedDescriptor&) = delete;
  CachedDescriptor& operator=(const CachedDescriptor&) = delete;

  // Open as long as the result is kept.
  Result<Shared> Get() EXCLUDES(mutex_);
  // The descriptor stays open until Unpin has been called as often: an object without a name cannot
  // be opened again. `fd` is taken if there is none at the moment.
  void Pin(Shared fd) EXCLUDES(mutex_);
  void Unpin() EXCLUDES(mutex_);

 private:
  friend class DescriptorCache;

  DescriptorCache& cache_;
  const FileHandle& handle_;
  Mutex mutex_;
  Shared fd_ GUARDED_BY(mutex_);
  int pins_ GUARDED_BY(mutex_);
  bool used_ GUARDED_BY(mutex_) = true;  // since the cache last looked
  // The cache's: where in its list, guarded by its mutex.
  bool listed_ = false;
  std::list<CachedDescriptor*>::iterator place_;
};

class DescriptorCache {
 public:
  // `mount_fd`: any descriptor on the filesystem; must outlive the cache. `probe`: the handle of an
  // object there, to find out whether handles can be opened at all.
  DescriptorCache(int mount_fd, const FileHandle& probe);

  bool opens_by_handle() const { return opens_by_handle_; }

 private:
  friend class CachedDescriptor;
  void Admit(CachedDescriptor& descriptor) EXCLUDES(mutex_);
  void Remove(CachedDescriptor& descriptor) EXCLUDES(mutex_);

  const int mount_fd_;
  const bool opens_by_handle_;
  const size_t limit_;
  Mutex mutex_;
  std::list<CachedDescriptor*> open_ GUARDED_BY(mutex_);
};

}  // namespace tandem::fs
