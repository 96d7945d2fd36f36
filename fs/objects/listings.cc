#include "fs/objects/listings.h"

#include <algorithm>

#include "fs/objects/tuning.h"

namespace tandem::fs {

std::optional<Listings::Use> Listings::Find(uint64_t generation, off_t offset) {
  MutexLock lock(mutex_);
  const auto found = std::ranges::find_if(listings_, [&](const Listing& listing) {
    return listing.generation == generation && !listing.in_use &&
           listing.stream->position() == offset;
  });
  if (found == listings_.end()) return std::nullopt;
  found->in_use = true;
  return std::optional<Use>(std::in_place, *this, found);
}

Listings::Use Listings::Add(uint64_t generation, std::unique_ptr<OpenDirectory> stream,
                            bool begins) {
  std::list<Listing> closed;  // after the lock is released
  MutexLock lock(mutex_);
  if (begins) Outdate(generation, closed);
  listings_.push_back({generation, std::move(stream), /*in_use=*/true});
  count_ = listings_.size();
  return {*this, std::prev(listings_.end())};
}

void Listings::Close(uint64_t generation) {
  if (count_ == 0 || generation == 0) return;
  std::list<Listing> closed;
  MutexLock lock(mutex_);
  Outdate(generation, closed);
  count_ = listings_.size();
}

void Listings::Outdate(uint64_t generation, std::list<Listing>& closed) {
  for (auto at = listings_.begin(); at != listings_.end();) {
    const auto listing = at++;
    if (listing->generation != generation) continue;
    listing->is_outdated = true;
    if (!listing->in_use) closed.splice(closed.end(), listings_, listing);
  }
}

void Listings::End(Place place, bool keep) {
  std::list<Listing> closed;
  MutexLock lock(mutex_);
  place->in_use = false;
  if (keep && !place->is_outdated) {
    listings_.splice(listings_.end(), listings_, place);
    const auto oldest =
        std::ranges::find_if(listings_, [](const Listing& listing) { return !listing.in_use; });
    if (listings_.size() > kMaxListings) closed.splice(closed.end(), listings_, oldest);
  } else {
    closed.splice(closed.end(), listings_, place);
  }
  count_ = listings_.size();
}

}  // namespace tandem::fs
