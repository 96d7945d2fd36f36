// What stands in the mount table at a mountpoint, and clearing away a tandemfs that died there.
// Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::fs {

// The type our mounts have in the mount table.
inline constexpr char kMountType[] = "fuse.tandemfs";

// The absolute name of a mountpoint without symlinks, also where a dead mount hides it.
Result<std::string> ResolveMountpoint(const std::string& mountpoint);

// Detaches what a killed tandemfs left at `mountpoint` (calls on it give ENOTCONN).
// ErrorKind::kUsage when a live tandemfs is mounted there. Anything else there is left alone. Call
// it before SOURCE is opened: SOURCE may be the same directory.
Status RemoveDeadMount(const std::string& mountpoint);

}  // namespace tandem::fs
