// Files that hold blocks and an inode of the store's filesystem until they are needed, so that the
// bookkeeping files can be written even on a full disk. They are renamed into use, never freed and
// claimed again, because other programs may take what is freed. Proven on ext4 and xfs, where data
// that is overwritten in place keeps its blocks; best effort where each write takes new blocks
// (btrfs).
//
// Any thread may call these functions, one at a time for each file.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::replica {

// Creates an empty file of the process's own, O_WRONLY, in place of whatever has the name.
Result<UniqueFd> CreateAfresh(int directory_fd, const std::string& name, mode_t mode);

// Returns whether it is a regular file without another name. One that has another name may be
// somebody else's: nothing is written into it, unless it was written to before.
bool IsFileWithOneName(const struct stat& file);
bool IsFileWithOneName(int fd);

// Makes the file, with `bytes` zeros on stable storage, unless it is there.
Status MakeSpare(int directory_fd, const std::string& name, uint64_t bytes, mode_t mode);

// Overwrites the whole file with zeros, in place and durably, so that it is spare again.
Status ClearSpare(int fd);

}  // namespace tandem::replica
