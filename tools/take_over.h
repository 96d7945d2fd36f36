// A planned restart: a tandemfs started on the mountpoint of another one that serves the same
// volume takes its place. The new mount is placed beneath the old one, and the old tandemfs is
// asked to end. After it has flushed its files it detaches its mount, and path lookup finds the new
// mount. Requests to that wait until the old tandemfs has written its state and the new one serves.
#pragma once

#include <memory>
#include <string>

#include "fs/mount/kernel_mount.h"
#include "fs/mount/source_directory.h"
#include "meta/base/result.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

// Returns the placed mount after the old tandemfs has ended; `source` is locked then. Fails with
// kUsage if another volume or source is mounted there, or if this process may not place mounts. If
// the old tandemfs does not end in time (--stop-timeout and half a minute), the new mount stays,
// dead, so that the bare directory does not show when the old one ends.
Result<std::unique_ptr<fs::KernelMount>> TakeOver(const MountArguments& arguments,
                                                  const fs::SourceDirectory& source,
                                                  const std::string& mountpoint);

}  // namespace tandem::tools
