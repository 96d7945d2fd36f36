// Files that hold blocks and an inode of the store's filesystem until they are needed, so that the
// bookkeeping files can be written even on a full disk. They are renamed into use, never freed and
// claimed again, because other programs may take what is freed. Proven on ext4 and xfs, where data
// that is overwritten in place keeps its blocks; best effort where each write takes new blocks
// (btrfs).
//
// Any thread may call these functions, one at a time for each file.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "meta/base/result.h"

namespace tandem::replica {

// Makes the file, with `bytes` zeros on stable storage, unless it is there.
Status MakeSpare(int directory_fd, const std::string& name, uint64_t bytes, mode_t mode);

// Overwrites the whole file with zeros, in place and durably, so that it is spare again.
Status ClearSpare(int fd);

}  // namespace tandem::replica
