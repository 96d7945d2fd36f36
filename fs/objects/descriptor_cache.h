// A bounded cache of the inodes' O_PATH descriptors. A descriptor that is not in use may be closed
// and is opened again when it is needed: by handle (open_by_handle_at, which needs
// CAP_DAC_READ_SEARCH and a filesystem that offers it), or by name (ReopenWith). If neither works,
// every inode keeps its descriptor open. Eviction is second chance.
//
// Any thread. Each shard has a mutex of its own, which is a leaf: no descriptor is opened or closed
// while it is held.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "fs/objects/tuning.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/change/change_set.h"
#include "meta/change/file_handle.h"

namespace tandem::fs {

class CachedDescriptor;

class DescriptorCache {
 public:
  // `mount_fd`: any descriptor on the filesystem; must outlive the cache. `probe`: the handle of an
  // object there. It is opened once, to find out whether handles can be opened.
  DescriptorCache(int mount_fd, const FileHandle& probe);

  bool opens_by_handle() const { return opens_by_handle_; }
  // Sets how to open an object whose handle cannot be opened. Called before the first Inode exists.
  using Reopen = std::function<Result<UniqueFd>(const meta::ObjectRef&)>;
  void ReopenWith(Reopen reopen) { reopen_ = std::move(reopen); }
  bool reopens_by_name() const { return reopen_ != nullptr; }
  // Returns whether an object of the volume, its root excepted, can be opened again.
  bool CanReopen(const FileHandle& handle) const {
    return reopens_by_name() || (opens_by_handle_ && !handle.empty());
  }
  int mount_fd() const { return mount_fd_; }

 private:
  friend class CachedDescriptor;

  struct Entry {
    UniqueFd fd;
    CachedDescriptor* owner = nullptr;
    bool used = true;  // since eviction last looked; guarded by the shard's mutex
    // Its place in the shard's list. Valid only if it is listed.
    std::list<Entry*>::iterator place;
    bool listed = false;
  };
  using Shared = std::shared_ptr<Entry>;
  struct Shard {
    Mutex mutex;
    std::list<Entry*> open GUARDED_BY(mutex);
  };

  Shard& ShardOf(const CachedDescriptor& descriptor);
  // Adds the open descriptor of `descriptor` to the cache and evicts others. Returns what was
  // evicted. Destroy it after the mutex is released: closing the last descriptor of an unlinked
  // file frees its blocks.
  [[nodiscard]] std::vector<Shared> Admit(Shard& shard, CachedDescriptor& descriptor)
      REQUIRES(shard.mutex);
  static void Unlist(Shard& shard, Entry& open) REQUIRES(shard.mutex);
  Result<UniqueFd> OpenAgain(const meta::ObjectRef& object) const;

  const int mount_fd_;
  const bool opens_by_handle_;
  Reopen reopen_;
  const size_t limit_;  // of a shard
  std::array<Shard, kDescriptorShards> shards_;
};

// The descriptor of one inode. Lives as long as the inode.
class CachedDescriptor {
 public:
  using Shared = DescriptorCache::Shared;

  // A descriptor in use. It stays open while this lives.
  class Use {
   public:
    Use() = default;
    // A descriptor that is not in the cache.
    explicit Use(UniqueFd fd);

    // Requires that this was not default-constructed.
    int get() const { return open_->fd.get(); }

   private:
    friend class CachedDescriptor;
    explicit Use(Shared open) : open_(std::move(open)) {}
    Shared open_;
  };

  // `fd` may be invalid if the object can be opened again. If it cannot, `fd` stays open as long as
  // the inode lives.
  CachedDescriptor(bool can_reopen, UniqueFd fd);
  // Allows the descriptor given to the constructor to be closed, if the object can be opened again.
  // Destroy the result with no lock held.
  [[nodiscard]] std::vector<Shared> AllowClose(DescriptorCache& cache);
  struct Released {
    Shared open;  // null if no descriptor was open
    bool pinned;
  };
  // Takes the descriptor out of the cache. Called when the inode is destroyed.
  [[nodiscard]] Released Release(DescriptorCache& cache);

  // Opens the object if its descriptor is not open.
  Result<Use> Get(DescriptorCache& cache, const meta::ObjectRef& object);
  // Keeps the descriptor open until Unpin has been called as often as Pin. For an object that has
  // no name, or is about to lose it, and so could not be opened again. `fd` is a descriptor of the
  // object; it is used if none is open.
  Use Pin(DescriptorCache& cache, UniqueFd fd);
  // Destroy the result with no lock held.
  [[nodiscard]] std::vector<Shared> Unpin(DescriptorCache& cache);

 private:
  friend class DescriptorCache;

  // Both guarded by the mutex of ShardOf(*this).
  Shared open_;
  uint32_t pins_ = 0;
};

}  // namespace tandem::fs
