// open, flush, release and fsync of files.
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "fs/file_system.h"

namespace tandem::fs {
Status FileSystem::Open(Request& request, fuse_ino_t node, fuse_file_info* info) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(auto file, OpenBacking(inode, info->flags));
  ApplyNoatime(file->fd());
  file->AttachTo(inode);
  file->FillFileInfo(*info, backing_.close_cannot_fail && inode.in_volume());
  info->fh = files_.Add(std::move(file));
  if (!request.ReplyOpen(*info)) files_.Remove(info->fh);
  return {};
}

Result<std::unique_ptr<OpenFile>> FileSystem::OpenBacking(const Inode& inode, int flags) {
  auto backing = OpenFile::Backing::kUsual;
  Result<UniqueFd> fd = inodes_->Open(inode, OpenFile::BackingFlags(flags, settings_.writeback));
  const int as_asked = OpenFile::BackingFlags(flags, /*writeback=*/false);
  const bool may_read = (flags & O_ACCMODE) != O_WRONLY;
  if (!fd && fd.error().code() == EACCES && settings_.writeback && !may_read) {
    backing = OpenFile::Backing::kWriteOnly;
    fd = inodes_->Open(inode, as_asked);
  }
  if (!fd && fd.error().code() == EPERM && (flags & O_APPEND) != 0) {
    backing = OpenFile::Backing::kAppendOnly;
    fd = inodes_->Open(inode, as_asked | O_APPEND);
  }
  if (!fd) return tl::unexpected<Error>(std::move(fd.error()));
  return OpenFile::Adopt(std::move(*fd), flags, backing);
}

void FileSystem::ApplyNoatime(int fd) const {
  if (settings_.noatime) (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NOATIME);
}

// Closing a duplicate reports the errors that close would (a network filesystem's, EDQUOT).
Status FileSystem::Flush(Request& request, fuse_ino_t /*node*/, fuse_file_info* info) {
  const int duplicate = fcntl(files_.Get(info->fh).fd(), F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0 || close(duplicate) != 0) return ErrnoError("close");
  request.Succeed();
  return {};
}

Status FileSystem::Release(Request& request, fuse_ino_t /*node*/, fuse_file_info* info) {
  files_.Remove(info->fh);
  request.Succeed();
  return {};
}

Status FileSystem::Sync(Request& request, fuse_ino_t /*node*/, int data_only,
                        fuse_file_info* info) {
  const int fd = files_.Get(info->fh).fd();
  NoteSync();
  if ((data_only != 0 ? fdatasync(fd) : fsync(fd)) != 0) return ErrnoError("fsync");
  request.Succeed();
  return {};
}

std::vector<WritableFile> FileSystem::ListWritableFiles() {
  struct Writable {
    uint64_t generation;
    int fd;
  };
  std::map<fuse_ino_t, Writable> files;
  files_.VisitAll([&](const OpenFile& file) {
    if (const Inode* const inode = file.writable_inode(); inode != nullptr) {
      files.try_emplace(inodes_->NodeOf(*inode), Writable{inode->generation(), file.fd()});
    }
    return false;
  });
  // Names are read without the lock, since there may be many. A descriptor may be another file's by
  // now: then this file was closed, and the kernel has written it back.
  std::vector<WritableFile> writable;
  for (const auto& [node, file] : files)
    writable.push_back({node, file.generation, NameOf(file.fd)});
  return writable;
}

std::string FileSystem::NameOf(int fd) const {
  const auto name_of = [](int descriptor) {
    char name[PATH_MAX];
    const ssize_t length = readlink(FdPath(descriptor).c_str(), name, sizeof name);
    return std::string(name, length < 0 ? 0 : static_cast<size_t>(length));
  };
  std::string name = name_of(fd);
  const std::string root = name_of(inodes_->root_fd());
  if (name.starts_with(root)) name.erase(0, root.size());
  return name.substr(std::min(name.size(), name.find_first_not_of('/')));
}

}  // namespace tandem::fs
