#include "replica/store/disk_listing.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>

#include "meta/change/file_handle.h"
#include "meta/source/source_tree.h"
#include "replica/apply/own_labels.h"
#include "replica/hash.h"
#include "replica/store/tuning.h"

namespace tandem::replica {

Result<bool> DiskListing::Open(Tree& tree) {
  ASSIGN_OR_RETURN(directory_, tree.OpenDirectory(request_.directory));
  return directory_ != nullptr;
}

Status DiskListing::Read() {
  const auto until = std::chrono::steady_clock::now() + kListingTime;
  ASSIGN_OR_RETURN(const IdentifiedObject directory, Identify(directory_->get(), ""));
  mount_id_ = directory.mount_id;
  ASSIGN_OR_RETURN(const NamesListed::Names names, listed_.Of(directory_->get()));
  auto name = std::ranges::upper_bound(*names, request_.after);
  const auto end =
      request_.up_to.empty() ? names->end() : std::ranges::upper_bound(*names, request_.up_to);
  for (; name < end; ++name) {
    more_ = builder_.full() || (!builder_.empty() && std::chrono::steady_clock::now() > until);
    if (more_) return {};
    RETURN_IF_ERROR(ReadName(*name));
  }
  if (request_.up_to.empty()) listed_.Forget(names);
  return {};
}

Status DiskListing::ReadName(const std::string& name) {
  Listed listed;
  listed.name = name;
  auto inode = ReadObject(listed);
  if (!inode && MeansAbsent(inode.error())) return {};
  if (!inode && !meta::IsUnreadable(inode.error())) {
    return tl::unexpected<Error>(std::move(inode.error()));
  }
  if (!inode) listed.unreadable = inode.error().ToString();
  inodes_.push_back(inode.value_or(InodeId()));
  builder_.Add(std::move(listed));
  return {};
}

Result<InodeId> DiskListing::ReadObject(Listed& listed) const {
  // Without content nothing has to be opened, unless rights have to be taken for it.
  if (request_.digests_up_to == 0 && request_.with_xattrs && geteuid() == 0) {
    ASSIGN_OR_RETURN(const IdentifiedObject found,
                     Identify(directory_->get(), listed.name.c_str(), kInodeIds));
    if (found.mount_id != mount_id_) return ErrnoError(EXDEV, "identify " + listed.name);
    ASSIGN_OR_RETURN(listed.attributes,
                     meta::ReadAttributesAt(directory_->get(), listed.name.c_str()));
    return InodeId{found.id};
  }
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenBeneath(directory_->get(), listed.name, O_PATH));
  ASSIGN_OR_RETURN(const auto inode, InodeAt(fd.get(), ""));
  const auto xattrs = request_.with_xattrs ? meta::WithXattrs::kYes : meta::WithXattrs::kNo;
  ASSIGN_OR_RETURN(listed.attributes, ReadWithRights(fd.get(), xattrs));
  // Digests are an offer: a file that cannot be read is listed without them.
  if (auto digests = DigestsOf(fd.get(), listed.attributes)) listed.digests = std::move(*digests);
  return inode.value_or(InodeId());
}

Result<std::string> DiskListing::DigestsOf(int path_fd, const meta::Attributes& attributes) const {
  const bool wanted = attributes.kind == meta::Kind::kFile && attributes.size > 0 &&
                      attributes.size <= request_.digests_up_to;
  if (!wanted) return std::string();
  ASSIGN_OR_RETURN(const UniqueFd fd, Reopen(path_fd, O_RDONLY));
  ASSIGN_OR_RETURN(Digests digests, DigestBlocks(fd.get(), 0, attributes.size, request_.digests));
  return std::move(digests.digests);
}

// Looks up the object that the directory's entry names, which is nearly always what stands there:
// rows of one directory are close to each other, those of the index by inode are not.
Result<std::vector<ObjectId>> DiskListing::FindObjects(Catalog& catalog) {
  std::vector<ObjectId> objects(inodes_.size());
  const auto& entries = builder_.entries();
  if (entries.empty()) return objects;
  ASSIGN_OR_RETURN(const std::vector<CatalogEntry> named,
                   catalog.EntriesOf(request_.directory, request_.after, entries.size()));
  auto same = named.begin();
  for (size_t i = 0; i < entries.size(); ++i) {
    while (same != named.end() && same->name < entries[i].name) ++same;
    if (same != named.end() && same->name == entries[i].name) {
      ASSIGN_OR_RETURN(const auto inode, catalog.InodeOf(same->child));
      if (inode == inodes_[i]) objects[i] = same->child;
    }
    if (!objects[i].is_null()) continue;
    ASSIGN_OR_RETURN(const auto object, catalog.FindInode(inodes_[i]));
    objects[i] = object.value_or(ObjectId());
  }
  return objects;
}

Result<Listing> DiskListing::Finish(Catalog& catalog) {
  ASSIGN_OR_RETURN(const std::vector<ObjectId> objects, FindObjects(catalog));
  for (size_t i = 0; i < inodes_.size(); ++i) {
    Listed& listed = builder_.entries()[i];
    listed.object = objects[i];
    if (listed.attributes.xattrs.empty()) continue;
    std::optional<CatalogObject> row;
    if (!listed.object.is_null()) {
      ASSIGN_OR_RETURN(row, catalog.Find(listed.object));
    }
    LeaveOutOwnLabels(listed.attributes.xattrs, row ? row->attributes.xattrs : meta::Xattrs());
  }
  return builder_.Take(more_);
}

}  // namespace tandem::replica
