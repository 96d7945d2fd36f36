#include "fs/objects/listings.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "fs/objects/tuning.h"

namespace tandem::fs {

std::unique_ptr<OpenDirectory> Listings::Take(uint64_t generation, off_t offset) {
  if (count_ == 0) return nullptr;
  MutexLock lock(mutex_);
  const auto found = std::ranges::find_if(listings_, [&](const Listing& listing) {
    return listing.generation == generation && listing.stream->position() == offset;
  });
  if (found == listings_.end()) return nullptr;
  std::unique_ptr<OpenDirectory> stream = std::move(found->stream);
  listings_.erase(found);
  --count_;
  return stream;
}

void Listings::Keep(uint64_t generation, std::unique_ptr<OpenDirectory> stream) {
  std::list<Listing> closed;  // after the lock is released
  MutexLock lock(mutex_);
  listings_.push_back({generation, std::move(stream)});
  if (listings_.size() > kMaxListings) closed.splice(closed.end(), listings_, listings_.begin());
  count_ = listings_.size();
}

void Listings::CloseRemoved() {
  if (count_ == 0) return;
  std::list<Listing> closed;
  MutexLock lock(mutex_);
  for (auto at = listings_.begin(); at != listings_.end();) {
    const auto listing = at++;
    struct stat now = {};
    const bool is_removed = fstat(listing->stream->fd(), &now) == 0 && now.st_nlink == 0;
    if (is_removed) closed.splice(closed.end(), listings_, listing);
  }
  count_ = listings_.size();
}

}  // namespace tandem::fs
