// The listings of directories that are under way. The kernel is asked not to tell of directories
// that are opened and closed (FUSE_NO_OPENDIR_SUPPORT), which saves two requests each time one is
// listed from its cache. So a request to read names only has a directory and an offset. The stream
// that has got there is here, or another is opened, which costs more and shows the same: this is
// for filesystems whose offsets mean the same through every descriptor (FileSystem::Backing).
//
// A stream has read names ahead that may have gone when a later listing begins, so that ends the
// use of all streams of its directory that were begun before.
//
// Any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "fs/objects/open_directory.h"
#include "meta/base/mutex.h"

namespace tandem::fs {

class Listings {
 private:
  struct Listing {
    const uint64_t generation;  // of the directory's Inode
    std::unique_ptr<OpenDirectory> stream;
    bool in_use = false;
    bool is_outdated = false;
  };
  using Place = std::list<Listing>::iterator;

 public:
  // The use of a stream by one request. It is closed afterwards, unless Keep was called.
  class Use {
   public:
    Use(Listings& listings, Place place) : listings_(&listings), place_(place) {}
    Use(Use&& other) noexcept
        : listings_(std::exchange(other.listings_, nullptr)),
          place_(other.place_),
          keep_(other.keep_) {}
    Use& operator=(Use&& other) noexcept {
      std::swap(listings_, other.listings_);
      std::swap(place_, other.place_);
      std::swap(keep_, other.keep_);
      return *this;
    }
    ~Use() {
      if (listings_ != nullptr) listings_->End(place_, keep_);
    }

    OpenDirectory& stream() { return *place_->stream; }
    // For the request that follows.
    void Keep() { keep_ = true; }

   private:
    Listings* listings_;
    Place place_;
    bool keep_ = false;
  };

  // Returns the stream of a listing that has got to `offset` in the directory whose Inode has this
  // generation, or nullopt.
  std::optional<Use> Find(uint64_t generation, off_t offset) EXCLUDES(mutex_);
  // Adds a stream that was just opened. `begins`: a listing begins with it.
  Use Add(uint64_t generation, std::unique_ptr<OpenDirectory> stream, bool begins) EXCLUDES(mutex_);
  // Closes the streams of a directory that has been removed, or that the kernel has forgotten; of
  // none, if `generation` is 0.
  void Close(uint64_t generation) EXCLUDES(mutex_);

 private:
  void End(Place place, bool keep) EXCLUDES(mutex_);
  // Moves the streams of the directory to `closed`, or marks them if they are in use.
  void Outdate(uint64_t generation, std::list<Listing>& closed) REQUIRES(mutex_);

  std::atomic<size_t> count_{0};
  Mutex mutex_;
  std::list<Listing> listings_ GUARDED_BY(mutex_);  // the one that was used last is the last
};

}  // namespace tandem::fs
