// O_PATH descriptors of inodes, a bounded number of them: one that nobody uses may be closed and is
// opened again when it is needed: by handle (open_by_handle_at, which needs CAP_DAC_READ_SEARCH and
// a filesystem that offers it), or by its name (ReopenBy). Without either every inode keeps its
// own. Second chance decides which goes.
//
// Any thread. The cache is divided, each division with a mutex of its own, which is a leaf: nothing
// is opened or closed while it is held.
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
#include "meta/change_set.h"
#include "meta/file_handle.h"

namespace tandem::fs {

class CachedDescriptor;

class DescriptorCache {
 public:
  // `mount_fd`: any descriptor on the filesystem; must outlive the cache. `probe`: the handle of an
  // object there, to find out whether handles can be opened at all.
  DescriptorCache(int mount_fd, const FileHandle& probe);

  bool opens_by_handle() const { return opens_by_handle_; }
  // From here on objects whose handles cannot be opened are opened so. Before there are any.
  using Reopen = std::function<Result<UniqueFd>(const meta::ObjectRef&)>;
  void ReopenBy(Reopen reopen) { reopen_ = std::move(reopen); }
  bool reopens_by_name() const { return reopen_ != nullptr; }
  // Whether an object of the volume, but its root, needs no descriptor of its own.
  bool CanReopen(const FileHandle& handle) const {
    return reopens_by_name() || (opens_by_handle_ && !handle.empty());
  }
  int mount_fd() const { return mount_fd_; }

 private:
  friend class CachedDescriptor;

  struct Open {
    UniqueFd fd;
    CachedDescriptor* owner = nullptr;
    bool used = true;  // since the cache last looked; guarded by the division's mutex
    // Where in the division's list; only if it is listed.
    std::list<Open*>::iterator place;
    bool listed = false;
  };
  using Shared = std::shared_ptr<Open>;
  struct Division {
    Mutex mutex;
    std::list<Open*> open GUARDED_BY(mutex);
  };

  Division& DivisionOf(const CachedDescriptor& descriptor);
  // Lists what `descriptor` holds, so that it may be closed, and takes away what is too much.
  // Returned, so that it is closed after the mutex is released: closing the last descriptor of an
  // unlinked file frees its blocks.
  [[nodiscard]] std::vector<Shared> Admit(Division& division, CachedDescriptor& descriptor)
      REQUIRES(division.mutex);
  static void Unlist(Division& division, Open& open) REQUIRES(division.mutex);
  Result<UniqueFd> OpenAgain(const meta::ObjectRef& object) const;

  const int mount_fd_;
  const bool opens_by_handle_;
  Reopen reopen_;
  const size_t limit_;  // of a division
  std::array<Division, kDescriptorDivisions> divisions_;
};

// One inode's place in the cache. Lives as long as the inode.
class CachedDescriptor {
 public:
  using Shared = DescriptorCache::Shared;

  // A descriptor in use: open as long as this is kept.
  class Use {
   public:
    Use() = default;
    // Of no inode in particular.
    explicit Use(UniqueFd fd);

    // Not of a default-constructed one.
    int get() const { return open_->fd.get(); }

   private:
    friend class CachedDescriptor;
    explicit Use(Shared open) : open_(std::move(open)) {}
    Shared open_;
  };

  // `fd` may be none if it can be opened again; if it cannot, it must be there, and stays open for
  // good.
  CachedDescriptor(bool can_reopen, UniqueFd fd);
  // What it was made with may be closed from here on, if it can be opened again. What is returned
  // is closed when it goes: hold no lock then.
  [[nodiscard]] std::vector<Shared> LetClose(DescriptorCache& cache);
  struct Released {
    Shared open;  // null: nothing is
    bool pinned;
  };
  // Gives up what is open, for an inode that goes.
  [[nodiscard]] Released Release(DescriptorCache& cache);

  Result<Use> Get(DescriptorCache& cache, const meta::ObjectRef& object);
  // The descriptor stays open until Unpin has been called as often: an object without a name cannot
  // be opened again. `fd`, the object's, is taken if there is none at the moment.
  Use Pin(DescriptorCache& cache, UniqueFd fd);
  // What is returned is closed when it goes: hold no lock then.
  [[nodiscard]] std::vector<Shared> Unpin(DescriptorCache& cache);

 private:
  friend class DescriptorCache;

  // Both guarded by the mutex of the division the descriptor belongs to.
  Shared open_;
  uint32_t pins_ = 0;
};

}  // namespace tandem::fs
