// Collects the entries of one answer to List until it is full. One thread.
#pragma once

#include <cstddef>
#include <utility>

#include "replica/store/tuning.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class ListingBuilder {
 public:
  bool empty() const { return listing_.entries.empty(); }
  bool full() const { return listing_.entries.size() >= kMaxListed || bytes_ >= kMaxListedBytes; }
  void Add(Listed listed) {
    bytes_ += SizeOf(listed);
    listing_.entries.push_back(std::move(listed));
  }
  std::vector<Listed>& entries() { return listing_.entries; }
  Listing Take(bool more) {
    listing_.more = more;
    return std::move(listing_);
  }

 private:
  static size_t SizeOf(const Listed& listed) {
    size_t size = 160 + listed.name.size() + listed.attributes.link_target.size();
    for (const auto& [name, value] : listed.attributes.xattrs) size += name.size() + value.size();
    return size + listed.digests.size() + listed.unreadable.size();
  }

  Listing listing_;
  size_t bytes_ = 0;
};

}  // namespace tandem::replica
