#include "fs/objects/open_file.h"

#include <unistd.h>

namespace tandem::fs {

int OpenFile::BackingFlags(int flags, bool writeback) {
  int backing = (flags & (O_ACCMODE | O_DIRECT | O_NOATIME)) | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
  if (writeback && (flags & O_ACCMODE) == O_WRONLY) backing = (backing & ~O_ACCMODE) | O_RDWR;
  return backing;
}

Result<std::unique_ptr<OpenFile>> OpenFile::Adopt(UniqueFd fd, int flags, Backing backing) {
  // The open was tried with O_DIRECT, which the backing filesystem may refuse. It is dropped now
  // because our buffers are not aligned.
  const bool direct = (flags & O_DIRECT) != 0;
  if (direct && fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) & ~O_DIRECT) != 0) {
    return ErrnoError("open");
  }
  return std::unique_ptr<OpenFile>(new OpenFile(std::move(fd), flags, backing));
}

Status OpenFile::SyncIfAsked() const {
  if (!syncs()) return {};
  const bool all = (flags_ & O_SYNC) == O_SYNC;
  if ((all ? fsync(fd()) : fdatasync(fd())) != 0) return ErrnoError("sync after write");
  return {};
}

void OpenFile::AttachTo(const Inode& inode) {
  if ((flags_ & O_ACCMODE) != O_RDONLY) writer_.emplace(inode);
}

void OpenFile::FillFileInfo(fuse_file_info& info, bool close_cannot_fail) const {
  info.direct_io = (flags_ & O_DIRECT) != 0 || backing_ != Backing::kUsual;
  // All changes come through this mount, so cached pages stay valid across opens. An append-only
  // file is the exception: without keep_cache the kernel writes back now what other descriptors
  // have written, so that appends come after it.
  info.keep_cache = backing_ != Backing::kAppendOnly;
  // A descriptor that is not open for writing has no errors to report either.
  info.noflush = close_cannot_fail || (flags_ & O_ACCMODE) == O_RDONLY;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
  info.parallel_direct_writes = info.direct_io;
#endif
}

}  // namespace tandem::fs
