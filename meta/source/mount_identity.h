// Identifies a mount among all mounts since the machine booted. The identity is the mount's unique
// id (STATX_MNT_ID_UNIQUE, Linux 6.8). On older kernels it is the id in the mount table followed by
// a question mark, because the kernel reuses those ids. Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::meta {

// Returns the identity of the mount that `fd` is on. Sends no request to the filesystem.
Result<std::string> MountIdentityOf(int fd);

// Returns the identity of the mount with this id in the mount table (/proc/self/mountinfo).
Result<std::string> MountIdentityOfId(int mount_id);

}  // namespace tandem::meta
