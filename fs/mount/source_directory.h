// SOURCE, opened: also where a tandemfs is mounted over it (one that was killed, or one that is
// about to be replaced), without taking that mount away, since applications would meet the bare
// directory then.
//
// How a covered directory is reached: a child process has a mount namespace of its own, takes our
// mounts away there, and passes a descriptor back. That descriptor is on a copy of the mount. Where
// the directory can be opened by handle through its parent directory, the original is opened so;
// where it is itself a mount point, the copy is used, with the mounts below it. Mounts that are
// made below such a SOURCE later are not seen through the copy.
#pragma once

#include <string>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

struct SourceDirectory {
  std::string path;  // without symlinks
  UniqueFd fd;       // O_RDONLY; stays open as long as the directory is served
  UniqueFd copy;     // keeps the mounts below a copied mount; often none
  // The original mount, in the mount table, and what meta/disk_identity.h knows it by.
  int mount_id = 0;
  std::string mount_identity;
};

// Call it before any thread is started. `mountpoint` is a name from ResolveMountpoint. kRefused if
// `source` is the mountpoint, a tandemfs is mounted there, and this process may not look beneath.
Result<SourceDirectory> OpenSource(const std::string& source, const std::string& mountpoint);

}  // namespace tandem::fs
