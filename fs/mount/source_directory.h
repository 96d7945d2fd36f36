// Opens SOURCE, even if a tandemfs is mounted over it (one that was killed, or one that is about to
// be replaced). That mount is not detached, because applications would see the bare directory.
//
// A covered directory is reached by a child process. It has a mount namespace of its own, detaches
// our mounts there, and passes back a descriptor, which is on a copy of the mount. If the directory
// can be opened by handle through its parent directory, the original is opened that way. If it is
// itself the root of a mount, the copy is used, with the mounts below it. Filesystems mounted below
// such a SOURCE later are not seen through the copy.
#pragma once

#include <string>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

struct SourceDirectory {
  std::string path;  // without symlinks
  UniqueFd fd;       // O_RDONLY; must stay open as long as the directory is served
  UniqueFd copy;     // keeps the mounts below a copied mount; invalid if there is no copy
  // The original mount: its id in the mount table, and its identity for meta/state/disk_identity.h.
  int mount_id = 0;
  std::string mount_identity;
};

// Called before any thread is started. `mountpoint` comes from ResolveMountpoint. Fails with
// kRefused if `source` is the mountpoint, a tandemfs is mounted there, and this process may not
// open the directory beneath.
Result<SourceDirectory> OpenSource(const std::string& source, const std::string& mountpoint);

}  // namespace tandem::fs
