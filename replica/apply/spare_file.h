// Files that hold blocks and an inode of a store's filesystem until they are needed, so that what
// keeps the books can always be written, on a disk that is full: they are renamed into use, never
// freed and claimed again, as others may take what is freed. Proven on ext4 and xfs, where blocks
// that are written again in place stay; best effort where each write goes to new blocks (btrfs).
//
// Plain functions: one thread for one file.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "meta/base/result.h"

namespace tandem::replica {

// Makes the file, of `bytes` zeros on stable storage, unless it is there.
Status MakeSpare(int directory_fd, const std::string& name, uint64_t bytes, mode_t mode);

// Writes zeros over all the file holds, in place, durably: it is spare again.
Status ClearSpare(int fd);

}  // namespace tandem::replica
