// Entries made and removed: mknod, mkdir, symlink, link, unlink, rmdir. (rename: rename.cc; create:
// create.cc.) The kernel holds the directory's lock during each of these, so an entry does not
// change between our lookup and the backing call.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/file_system.h"

namespace tandem::fs {

using meta::Intent;
using meta::Operation;

Result<FoundObject> FileSystem::RecordCreated(Operation& operation, const Inode& parent,
                                              int parent_fd, const char* name, int removal_flags) {
  return RecordFound(operation, parent, parent_fd, name, removal_flags,
                     inodes_->Find(parent_fd, name));
}

Result<FoundObject> FileSystem::RecordFound(Operation& operation, const Inode& parent,
                                            int parent_fd, const char* name, int removal_flags,
                                            Result<FoundObject> found) {
  if (!found) {
    // Out of descriptors or memory. An object that capture does not know must not stay.
    unlinkat(parent_fd, name, removal_flags);
    operation.SetEntry(parent.ref(), name, ObjectId(), ObjectId());
    return found;
  }
  operation.SetEntry(parent.ref(), name, found->ref.id, ObjectId());
  operation.Born(found->ref);
  return found;
}

Status FileSystem::MakeNode(Request& request, fuse_ino_t parent, const char* name, mode_t mode,
                            dev_t device) {
  const Inode& directory = inodes_->Get(parent);
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(directory));
  ASSIGN_OR_RETURN(Operation operation, Begin(directory, Intent().Entries(directory.ref())));
  {
    ASSIGN_OR_RETURN(const auto credentials, CallerCredentials::Assume(request.caller()));
    if (mknodat(directory_fd.get(), name, mode, device) != 0) return ErrnoError("mknod");
  }
  ASSIGN_OR_RETURN(FoundObject made,
                   RecordCreated(operation, directory, directory_fd.get(), name, 0));
  operation.End();
  return ReplyEntry(request, directory, std::move(made));
}

Status FileSystem::MakeDirectory(Request& request, fuse_ino_t parent, const char* name,
                                 mode_t mode) {
  const Inode& directory = inodes_->Get(parent);
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(directory));
  ASSIGN_OR_RETURN(Operation operation, Begin(directory, Intent().Entries(directory.ref())));
  {
    ASSIGN_OR_RETURN(const auto credentials, CallerCredentials::Assume(request.caller()));
    if (mkdirat(directory_fd.get(), name, mode) != 0) return ErrnoError("mkdir");
  }
  ASSIGN_OR_RETURN(FoundObject made,
                   RecordCreated(operation, directory, directory_fd.get(), name, AT_REMOVEDIR));
  operation.End();
  return ReplyEntry(request, directory, std::move(made));
}

Status FileSystem::MakeSymlink(Request& request, const char* target, fuse_ino_t parent,
                               const char* name) {
  const Inode& directory = inodes_->Get(parent);
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(directory));
  ASSIGN_OR_RETURN(Operation operation, Begin(directory, Intent().Entries(directory.ref())));
  {
    ASSIGN_OR_RETURN(const auto credentials, CallerCredentials::Assume(request.caller()));
    if (symlinkat(target, directory_fd.get(), name) != 0) return ErrnoError("symlink");
  }
  ASSIGN_OR_RETURN(FoundObject made,
                   RecordCreated(operation, directory, directory_fd.get(), name, 0));
  operation.End();
  return ReplyEntry(request, directory, std::move(made));
}

Status FileSystem::Link(Request& request, fuse_ino_t node, fuse_ino_t new_parent,
                        const char* new_name) {
  const Inode& inode = inodes_->Get(node);
  const Inode& directory = inodes_->Get(new_parent);
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(inode));
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(directory));
  struct stat before;
  if (fstatat(fd.get(), "", &before, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  Intent intent;
  intent.Entries(directory.ref());
  if (before.st_nlink != 0) intent.Attributes(inode.ref());
  ASSIGN_OR_RETURN(Operation operation, Begin(directory, intent));
  if (linkat(AT_FDCWD, fd.path().c_str(), directory_fd.get(), new_name, AT_SYMLINK_FOLLOW) != 0) {
    return ErrnoError("link");
  }
  operation.SetEntry(directory.ref(), new_name, inode.ref().id, ObjectId());
  if (before.st_nlink == 0) {  // from O_TMPFILE
    operation.Born(inode.ref());
  } else {
    operation.ChangedAttributes(inode.ref(), meta::kStatAttributes);  // its ctime
  }
  operation.End();
  if (before.st_nlink == 0) inodes_->NoteLinked(inodes_->Get(node));
  ASSIGN_OR_RETURN(FoundObject linked, inodes_->FindOpen(fd.get()));
  return ReplyEntry(request, directory, std::move(linked));
}

Result<FileSystem::Victim> FileSystem::FindVictim(const Inode& parent, int parent_fd,
                                                  const char* name) const {
  UniqueFd fd(openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("look up");
  ASSIGN_OR_RETURN(const IdentifiedObject object, Identify(fd.get(), ""));
  Victim victim;
  if (IsCaptured(parent)) victim.object = {object.id, object.handle};
  victim.guard = inodes_->GuardRemoval(object.id, object.mount_id, std::move(fd));
  return victim;
}

void FileSystem::AnnounceRemoval(Operation& operation, const Victim& victim) {
  if (victim.object.id.is_null()) return;
  operation.Unlinking(victim.object.id, victim.guard.fd());
}

Status FileSystem::RemoveEntry(Request& request, fuse_ino_t parent, const char* name, int flags) {
  const Inode& directory = inodes_->Get(parent);
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(directory));
  ASSIGN_OR_RETURN(const Victim victim, FindVictim(directory, directory_fd.get(), name));
  ASSIGN_OR_RETURN(Operation operation, Begin(directory, Intent().Entries(directory.ref())));
  AnnounceRemoval(operation, victim);
  if (unlinkat(directory_fd.get(), name, flags) != 0) return ErrnoError("remove");
  operation.SetEntry(directory.ref(), name, ObjectId(), victim.object.id);
  operation.End();
  (void)directory.known_names().Consume();
  if (flags == AT_REMOVEDIR) listings_.Close(victim.guard.generation());
  request.Succeed();
  return {};
}

Status FileSystem::Unlink(Request& request, fuse_ino_t parent, const char* name) {
  return RemoveEntry(request, parent, name, 0);
}

Status FileSystem::RemoveDirectory(Request& request, fuse_ino_t parent, const char* name) {
  return RemoveEntry(request, parent, name, AT_REMOVEDIR);
}

}  // namespace tandem::fs
