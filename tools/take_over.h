// A planned restart: a tandemfs started on the mountpoint of another that serves the same volume
// takes its place. The new mount goes beneath the old one, then the old tandemfs is asked to end.
// When it has taken in what the kernel held, it unmounts, and path lookup finds the new mount,
// whose requests wait until the old tandemfs has written down its state and the new one serves.
#pragma once

#include <memory>
#include <string>

#include "fs/mount/kernel_mount.h"
#include "fs/mount/source_directory.h"
#include "meta/base/result.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

// Returns the placed mount once the old tandemfs has ended; `source` is locked then. kUsage: what
// is mounted there is another volume or another source, or this process may not place mounts. If
// the old one does not end within its time (--stop-timeout, and half a minute), the new mount stays
// where it is, dead: the bare directory does not show when the old one ends after all.
Result<std::unique_ptr<fs::KernelMount>> TakeOver(const MountArguments& arguments,
                                                  const fs::SourceDirectory& source,
                                                  const std::string& mountpoint);

}  // namespace tandem::tools
