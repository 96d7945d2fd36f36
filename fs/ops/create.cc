// create, and tmpfile if libfuse has it.
#include <fcntl.h>
#include <unistd.h>

#include "fs/file_system.h"
#include "fs/tuning.h"

namespace tandem::fs {
namespace {

using meta::Intent;
using meta::Operation;

// Always uses O_EXCL, so that the file is known to be new. The kernel sends a create only for a
// name that it found free, and holds the directory's lock since. If the name exists nevertheless,
// it was made behind the mount. An application without O_EXCL then wants to open it: ESTALE makes
// the kernel begin the open again with a lookup.
Result<UniqueFd> OpenNew(const fuse_ctx& caller, int directory_fd, const char* name, mode_t mode,
                         int flags, bool writeback) {
  ASSIGN_OR_RETURN(const auto credentials, CallerCredentials::Assume(caller));
  UniqueFd fd(openat(directory_fd, name,
                     OpenFile::BackingFlags(flags, writeback) | O_CREAT | O_EXCL, mode));
  if (fd.valid()) return fd;
  if (errno == EEXIST && (flags & O_EXCL) == 0) return ErrnoError(ESTALE, "create");
  return ErrnoError("create");
}

}  // namespace

Status FileSystem::CreateFile(Request& request, fuse_ino_t parent, const char* name, mode_t mode,
                              fuse_file_info* info) {
  const Inode& directory = inodes_->Get(parent);
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(directory));
  ASSIGN_OR_RETURN(Operation operation, Begin(directory, Intent().Entries(directory.ref())));
  Result<UniqueFd> opened =
      OpenNew(request.caller(), directory_fd.get(), name, mode, info->flags, settings_.writeback);
  if (!opened) {
    RecordLeftBehind(operation, parent, directory_fd.get(), name);
    return tl::unexpected<Error>(std::move(opened.error()));
  }
  UniqueFd fd = std::move(*opened);
  ASSIGN_OR_RETURN(FoundObject made, RecordFound(operation, directory, directory_fd.get(), name, 0,
                                                 inodes_->FindOpen(fd.get())));
  operation.End();
  CountKnownName(directory);
  ASSIGN_OR_RETURN(auto file, OpenFile::Adopt(std::move(fd), info->flags));
  return ReplyCreated(request, std::move(made), std::move(file), *info);
}

// A filesystem without O_DIRECT (ramfs) refuses the open after it has made the file, and leaves it.
void FileSystem::RecordLeftBehind(Operation& operation, fuse_ino_t parent, int parent_fd,
                                  const char* name) {
  const Result<FoundObject> left = inodes_->Find(parent_fd, name);
  if (!left) return;
  const Inode& directory = inodes_->Get(parent);
  operation.SetEntry(directory.ref(), name, left->ref.id, ObjectId());
  operation.Born(left->ref);
  // The kernel still caches that the name does not exist. To invalidate that takes the directory's
  // lock, which the kernel holds until this request is answered.
  (void)delayed_calls_.Start([this, parent, name = std::string(name)] {
    fuse_lowlevel_notify_inval_entry(session_, parent, name.c_str(), name.size());
  });
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
// A file without a name has no entry and is on no replica: nothing is marked until it is linked.
Status FileSystem::CreateTemporary(Request& request, fuse_ino_t parent, mode_t mode,
                                   fuse_file_info* info) {
  ASSIGN_OR_RETURN(const InodeFd directory_fd, inodes_->Descriptor(parent));
  UniqueFd fd;
  {
    ASSIGN_OR_RETURN(const auto credentials, CallerCredentials::Assume(request.caller()));
    const int flags = OpenFile::BackingFlags(info->flags, settings_.writeback) & ~O_NOFOLLOW;
    fd.Reset(open(directory_fd.path().c_str(), flags | O_TMPFILE | (info->flags & O_EXCL), mode));
    if (!fd.valid()) return ErrnoError("create a nameless file");
  }
  ASSIGN_OR_RETURN(FoundObject made, inodes_->FindOpen(fd.get()));
  if (IsCaptured(inodes_->Get(parent))) capture_->SawNameless(made.ref);
  ASSIGN_OR_RETURN(auto file, OpenFile::Adopt(std::move(fd), info->flags));
  return ReplyCreated(request, std::move(made), std::move(file), *info);
}
#endif

Status FileSystem::ReplyCreated(Request& request, FoundObject found, std::unique_ptr<OpenFile> file,
                                fuse_file_info& info) {
  Inode* inode = nullptr;
  const fuse_entry_param entry = EntryOf(std::move(found), &inode);
  const NosecFlag::Snapshot created = inode->nosec().TakeSnapshot();
  // A new file has no extended attributes but those of default ACLs.
  if ((entry.attr.st_mode & (S_ISUID | S_ISGID)) == 0) inode->nosec().SetIfUnchanged(created);
  ApplyNoatime(file->fd());
  file->AttachTo(*inode);
  file->FillFileInfo(info, backing_.close_cannot_fail && inode->in_volume());
  info.fh = files_.Add(std::move(file));
  if (!request.ReplyCreate(entry, info)) {
    files_.Remove(info.fh);
    inodes_->Forget(*inode, 1);
  }
  return {};
}

}  // namespace tandem::fs
