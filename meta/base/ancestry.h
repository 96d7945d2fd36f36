// Tests whether one directory is an ancestor of another, across mount points. Any thread.
//
// Sends no request to any filesystem (AT_STATX_DONT_SYNC): one of the directories between the two
// may be on a FUSE mount that no process serves, or serves yet.
#pragma once

#include <sys/stat.h>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem {

// Returns the inode and device number of `path` relative to `directory_fd`, or, if `path` is "", of
// the object that `directory_fd` is open on.
Result<struct statx> StatIdentity(int directory_fd, const char* path);

// Returns whether `directory` is, or lies below, the directory that `wanted` (from StatIdentity)
// identifies. Compares inode and device numbers rather than names.
Result<bool> IsAtOrBelow(UniqueFd directory, const struct statx& wanted);

}  // namespace tandem
