#include "fs/inode_table.h"

#include <fcntl.h>

#include <algorithm>

namespace tandem::fs {

Result<FoundObject> FoundObject::ByName(int directory_fd, const char* name) {
  UniqueFd fd(openat(directory_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("look up");
  return Describe(std::move(fd));
}

Result<FoundObject> FoundObject::ByDescriptor(int fd) {
  UniqueFd path_fd(open(FdPath(fd).c_str(), O_PATH | O_CLOEXEC));
  if (!path_fd.valid()) return ErrnoError("look up");
  return Describe(std::move(path_fd));
}

Result<FoundObject> FoundObject::Describe(UniqueFd fd) {
  FoundObject found;
  if (fstatat(fd.get(), "", &found.attributes, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  ASSIGN_OR_RETURN(IdentifiedObject object, Identify(fd.get(), ""));
  found.fd = std::move(fd);
  found.ref = {object.id, std::move(object.handle)};
  found.mount_id = object.mount_id;
  return found;
}

Result<std::unique_ptr<InodeTable>> InodeTable::Create(int directory_fd) {
  ASSIGN_OR_RETURN(FoundObject found, FoundObject::ByName(directory_fd, "."));
  return std::unique_ptr<InodeTable>(new InodeTable(std::move(found)));
}

// open_by_handle_at takes no O_PATH descriptor. Where the root may not be read, no handle may be
// opened either.
InodeTable::InodeTable(FoundObject root)
    : mount_fd_(openat(root.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      descriptors_(mount_fd_.get(), root.ref.handle),
      // Without a handle, so that its descriptor stays open.
      root_(std::make_unique<Inode>(meta::ObjectRef{kRootObject, {}}, 0, 0, descriptors_,
                                    std::move(root.fd))),
      root_mount_id_(root.mount_id) {}

Inode& InodeTable::Remember(FoundObject found) {
  const int mount = found.mount_id == root_mount_id_ ? 0 : found.mount_id;
  const bool nameless = found.attributes.st_nlink == 0;  // O_TMPFILE
  MutexLock lock(mutex_);
  Entry& entry = entries_[Key{found.ref.id, mount}];
  if (!entry.inode) {
    entry.inode = std::make_unique<Inode>(std::move(found.ref), mount, ++last_generation_,
                                          descriptors_, std::move(found.fd));
    if (nameless) entry.inode->fd_.Pin(nullptr);
  }
  ++entry.lookups;
  return *entry.inode;
}

InodeTable::KeptOpen InodeTable::KeepOpen(const ObjectId& object, int mount_id, UniqueFd fd) {
  KeptOpen kept;
  kept.fd_ = std::make_shared<const UniqueFd>(std::move(fd));
  kept.key_ = {object, mount_id == root_mount_id_ ? 0 : mount_id};
  MutexLock lock(mutex_);
  const auto at = entries_.find(kept.key_);
  if (at == entries_.end()) return kept;
  kept.table_ = this;
  kept.generation_ = at->second.inode->generation();
  at->second.inode->fd_.Pin(kept.fd_);
  return kept;
}

InodeTable::KeptOpen& InodeTable::KeptOpen::operator=(KeptOpen&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(table_, other.table_);
  std::swap(key_, other.key_);
  std::swap(generation_, other.generation_);
  return *this;
}

InodeTable::KeptOpen::~KeptOpen() {
  if (table_ == nullptr) return;
  struct stat now;
  const bool has_name = fstatat(fd_->get(), "", &now, AT_EMPTY_PATH) == 0 && now.st_nlink > 0;
  if (has_name) table_->LetClose(key_, generation_);
}

void InodeTable::LetClose(const Key& key, uint64_t generation) {
  MutexLock lock(mutex_);
  const auto at = entries_.find(key);
  if (at == entries_.end() || at->second.inode->generation() != generation) return;
  at->second.inode->fd_.Unpin();
}

void InodeTable::Forget(Inode& inode, uint64_t lookups) {
  if (&inode == root_.get()) return;
  // Outlives the lock: closing the last descriptor of an unlinked file frees its blocks.
  std::unique_ptr<Inode> forgotten;
  MutexLock lock(mutex_);
  const auto at = entries_.find(Key{inode.ref().id, inode.mount_});
  at->second.lookups -= std::min(lookups, at->second.lookups);
  if (at->second.lookups > 0) return;
  forgotten = std::move(at->second.inode);
  entries_.erase(at);
}

}  // namespace tandem::fs
