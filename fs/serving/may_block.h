// Which requests may block on the disk: on dirty page throttling, a full journal, a frozen
// filesystem, or content that is not cached. The others take no longer than it takes to find an
// object.
#pragma once

#include <linux/fuse.h>

#include <cstdint>

namespace tandem::fs {

// `opcode`: FUSE_LOOKUP and so on (linux/fuse.h).
constexpr bool MayBlock(uint32_t opcode) {
  switch (opcode) {
    case FUSE_FORGET:
    case FUSE_SETATTR:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_LINK:
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_RELEASE:
    case FUSE_FSYNC:
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
    case FUSE_FLUSH:
    case FUSE_FSYNCDIR:
    case FUSE_CREATE:
    case FUSE_IOCTL:
    case FUSE_BATCH_FORGET:
    case FUSE_FALLOCATE:
    case FUSE_RENAME2:
    case FUSE_LSEEK:
    case FUSE_COPY_FILE_RANGE:
    case FUSE_SYNCFS:
    case FUSE_TMPFILE:
      return true;
    default:
      return false;
  }
}

}  // namespace tandem::fs
