// Answers one List from the disk, with the digests of small files if they are requested. It takes
// about kListingTime at most, whatever the directory: Listing::more says that there are more names.
//
// Three steps in this order, by one thread, while redoes are held off. Only Open and Finish need
// the catalog, so other requests are not held up while the disk is read.
#pragma once

#include <optional>
#include <vector>

#include "meta/base/result.h"
#include "replica/apply/catalog.h"
#include "replica/apply/tree.h"
#include "replica/store/listing_builder.h"
#include "replica/store/names_listed.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class DiskListing {
 public:
  // Borrows both.
  DiskListing(const List& request, NamesListed& names) : request_(request), listed_(names) {}

  // Returns false if the replica has no such directory.
  Result<bool> Open(Tree& tree);
  Status Read();
  Result<Listing> Finish(Catalog& catalog);

 private:
  Status ReadName(const std::string& name);
  // Returns the object of each of inodes_; null: the catalog has none.
  Result<std::vector<ObjectId>> FindObjects(Catalog& catalog);
  // Fills in what the object of that name has, and returns its inode.
  Result<InodeId> ReadObject(Listed& listed) const;
  Result<std::string> DigestsOf(int path_fd, const meta::Attributes& attributes) const;

  const List& request_;
  NamesListed& listed_;
  Tree::Directory directory_;
  int mount_id_ = 0;
  ListingBuilder builder_;
  std::vector<InodeId> inodes_;  // of the entries in builder_
  bool more_ = false;
};

}  // namespace tandem::replica
