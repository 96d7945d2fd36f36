// Files made and opened in one request: create, and tmpfile where libfuse has it.
#include <fcntl.h>
#include <unistd.h>

#include "fs/file_system.h"
#include "fs/tuning.h"

namespace tandem::fs {
namespace {

using meta::Intent;
using meta::Operation;

// With O_EXCL always, so that we know whether the file is new. The kernel asks for a creation only
// after it found the name free, and holds the directory's lock since; if the name is taken all the
// same, somebody worked behind the mount. An application without O_EXCL just wants that file then:
// at ESTALE the kernel starts the open afresh, with a lookup.
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

// Where a filesystem has no O_DIRECT (ramfs), it says so when it has made the file, and leaves it.
void FileSystem::RecordLeftBehind(Operation& operation, fuse_ino_t parent, int parent_fd,
                                  const char* name) {
  const Result<FoundObject> left = inodes_->Find(parent_fd, name);
  if (!left) return;
  const Inode& directory = inodes_->Get(parent);
  operation.SetEntry(directory.ref(), name, left->ref.id, ObjectId());
  operation.Born(left->ref);
  // The kernel goes on believing that there is nothing. It holds the directory's lock until this
  // request is answered, and needs it to forget.
  (void)delayed_calls_.Start([this, parent, name = std::string(name)] {
    fuse_lowlevel_notify_inval_entry(session_, parent, name.c_str(), name.size());
  });
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
// A file without a name belongs to no directory and is in no replica: nothing to mark until it is
// linked in.
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
  if (Captures(inodes_->Get(parent))) capture_->SawNameless(made.ref);
  ASSIGN_OR_RETURN(auto file, OpenFile::Adopt(std::move(fd), info->flags));
  return ReplyCreated(request, std::move(made), std::move(file), *info);
}
#endif

Status FileSystem::ReplyCreated(Request& request, FoundObject found, std::unique_ptr<OpenFile> file,
                                fuse_file_info& info) {
  Inode* inode = nullptr;
  const fuse_entry_param entry = EntryOf(std::move(found), &inode);
  const NosecFlag::Snapshot created = inode->nosec().TakeSnapshot();
  // What has just been made has no attributes but those of default ACLs.
  if ((entry.attr.st_mode & (S_ISUID | S_ISGID)) == 0) inode->nosec().SetIfUnchanged(created);
  HeedNoatime(file->fd());
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
