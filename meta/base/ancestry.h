// The way up from a directory to the root, over mount points. Any thread.
//
// No filesystem is asked for anything (AT_STATX_DONT_SYNC): what is on the way may be a mount that
// nobody serves, or serves yet.
#pragma once

#include <sys/stat.h>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem {

// What tells one directory from another. `path` below `directory_fd`; "": what that is open on.
Result<struct statx> StatIdentity(int directory_fd, const char* path);

// Whether going up from `directory`, itself included, leads through what `wanted` says, whatever
// either is called.
Result<bool> IsAtOrBelow(UniqueFd directory, const struct statx& wanted);

}  // namespace tandem
