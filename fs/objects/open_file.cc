#include "fs/objects/open_file.h"

#include <unistd.h>

namespace tandem::fs {

int OpenFile::BackingFlags(int flags, bool writeback) {
  int backing = (flags & (O_ACCMODE | O_DIRECT | O_NOATIME)) | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
  if (writeback && (flags & O_ACCMODE) == O_WRONLY) backing = (backing & ~O_ACCMODE) | O_RDWR;
  return backing;
}

Result<std::unique_ptr<OpenFile>> OpenFile::Adopt(UniqueFd fd, int flags, Backing backing) {
  // O_DIRECT had to be asked for, since the backing filesystem may refuse it, but our buffers are
  // not aligned.
  const bool direct = (flags & O_DIRECT) != 0;
  if (direct && fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) & ~O_DIRECT) != 0) {
    return ErrnoError("open");
  }
  return std::unique_ptr<OpenFile>(new OpenFile(std::move(fd), flags, backing));
}

Status OpenFile::SyncIfAsked() const {
  if ((flags_ & O_DSYNC) == 0) return {};
  const bool all = (flags_ & O_SYNC) == O_SYNC;  // O_SYNC contains O_DSYNC
  if ((all ? fsync(fd()) : fdatasync(fd())) != 0) return ErrnoError("sync after write");
  return {};
}

void OpenFile::BelongsTo(const Inode& inode) {
  if ((flags_ & O_ACCMODE) != O_RDONLY) writes_.emplace(inode);
}

void OpenFile::Describe(fuse_file_info& info, bool closes_silently) const {
  info.direct_io = (flags_ & O_DIRECT) != 0 || backing_ != Backing::kUsual;
  // Whatever changes the file comes through this mount, so cached pages outlive the open. But what
  // others have written to a file that can only be appended to since comes first: the kernel sends
  // it now.
  info.keep_cache = backing_ != Backing::kAppendOnly;
  // Nor has closing a descriptor that never wrote.
  info.noflush = closes_silently || (flags_ & O_ACCMODE) == O_RDONLY;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
  info.parallel_direct_writes = info.direct_io;
#endif
}

}  // namespace tandem::fs
