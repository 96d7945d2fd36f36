// The listings of directories that are under way. The kernel is asked not to tell of directories
// that are opened and closed (FUSE_NO_OPENDIR_SUPPORT), which saves two requests each time one is
// listed from its cache. So a request to read names only has a directory and an offset. The stream
// that has got there is here, or another is opened, which costs more and shows the same: offsets
// are the backing filesystem's.
//
// Any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "fs/objects/open_directory.h"
#include "meta/base/mutex.h"

namespace tandem::fs {

class Listings {
 public:
  // Returns the stream of a listing that has got to `offset` in the directory whose Inode has this
  // generation, or null. It is no longer here.
  std::unique_ptr<OpenDirectory> Take(uint64_t generation, off_t offset) EXCLUDES(mutex_);
  // Keeps the stream for the request that follows. Of more than kMaxListings the oldest goes.
  void Keep(uint64_t generation, std::unique_ptr<OpenDirectory> stream) EXCLUDES(mutex_);
  // Closes the streams of directories that have been removed, whose blocks are free afterwards. To
  // be called when one has been.
  void CloseRemoved() EXCLUDES(mutex_);

 private:
  struct Listing {
    uint64_t generation;
    std::unique_ptr<OpenDirectory> stream;
  };

  std::atomic<size_t> count_{0};
  Mutex mutex_;
  std::list<Listing> listings_ GUARDED_BY(mutex_);  // the oldest first
};

}  // namespace tandem::fs
