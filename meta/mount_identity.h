// What tells one mount of a filesystem from every other since the machine was started: its unique
// id (STATX_MNT_ID_UNIQUE, Linux 6.8), or, on older kernels, the id of the mount table, which is
// used again, with a question mark. Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::meta {

// The mount of a descriptor. Sends no request to the filesystem.
Result<std::string> MountIdentityOf(int fd);

// The mount with this id in the mount table (/proc/self/mountinfo).
Result<std::string> MountIdentityOfId(int mount_id);

}  // namespace tandem::meta
