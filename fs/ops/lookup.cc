// lookup and forget, and the replies that tell the kernel of an object.
#include "fs/file_system.h"
#include "fs/tuning.h"

namespace tandem::fs {

Status FileSystem::Lookup(Request& request, fuse_ino_t parent, const char* name) {
  const Inode& directory = inodes_->Get(parent);
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(directory));
  Result<FoundObject> found = inodes_->Find(directory_fd.get(), name);
  if (found && IsCaptured(directory)) ReportName(directory, name, *found);
  if (found) return ReplyEntry(request, directory, std::move(*found));
  if (found.error().code() != ENOENT) return tl::unexpected<Error>(std::move(found.error()));
  // The kernel may cache that the name does not exist.
  fuse_entry_param nothing = {};
  nothing.entry_timeout = kCacheSeconds;
  (void)request.ReplyEntry(nothing);
  return {};
}

void FileSystem::ReportName(const Inode& directory, const char* name, const FoundObject& found) {
  if (inodes_->IsInVolume(found)) capture_->Saw(directory.ref(), name, found.ref);
}

// What keeps its place in a listing may be on a filesystem that is to be unmounted.
void FileSystem::Forgotten(Inode& inode, uint64_t lookups) {
  if (inode.is_listed()) listings_.Close(inode.generation());
  inodes_->Forget(inode, lookups);
}

Status FileSystem::ForgetNode(Request& request, fuse_ino_t node, uint64_t lookups) {
  Forgotten(inodes_->Get(node), lookups);
  request.ReplyNothing();
  return {};
}

Status FileSystem::ForgetNodes(Request& request, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) {
    Forgotten(inodes_->Get(forgets[i].ino), forgets[i].nlookup);
  }
  request.ReplyNothing();
  return {};
}

fuse_entry_param FileSystem::EntryOf(FoundObject found, Inode** inode) {
  fuse_entry_param entry = {};
  entry.attr = found.attributes;
  *inode = &inodes_->Remember(std::move(found));
  entry.ino = inodes_->NodeOf(**inode);
  entry.generation = (*inode)->generation();
  entry.attr.st_ino = (*inode)->PublicNumber(entry.attr.st_ino);
  entry.attr_timeout = kCacheSeconds;
  entry.entry_timeout = S_ISDIR(entry.attr.st_mode) ? directory_seconds_ : kCacheSeconds;
  return entry;
}

void FileSystem::OnMountsChanged() {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  fuse_lowlevel_notify_increment_epoch(session_);
#endif
}

void FileSystem::CountKnownName(const Inode& directory) const {
  if (settings_.optimizations.known_names) directory.known_names().Add();
}

Status FileSystem::ReplyEntry(Request& request, const Inode& directory, FoundObject found) {
  Inode* inode = nullptr;
  const fuse_entry_param entry = EntryOf(std::move(found), &inode);
  CountKnownName(directory);
  if (!request.ReplyEntry(entry)) inodes_->Forget(*inode, 1);
  return {};
}

}  // namespace tandem::fs
