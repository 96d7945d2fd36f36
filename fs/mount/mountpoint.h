// The mountpoint, and the tandemfs that is already mounted there. Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::fs {

// Returns the absolute path of a mountpoint, without symlinks; also if a dead mount covers it.
Result<std::string> ResolveMountpoint(const std::string& mountpoint);

enum class Occupant {
  kNone,  // no tandemfs; another filesystem that is mounted there will be covered
  kDead,  // a tandemfs whose process has died: calls on it fail with ENOTCONN
  kLive,
};
// Returns what path lookup finds at `mountpoint`, a path from ResolveMountpoint. Sends a live
// tandemfs a request, and waits until it answers.
Result<Occupant> OccupantOf(const std::string& mountpoint);

// Returns the error for a mountpoint with a live tandemfs. `which` describes that one, if not
// empty.
tl::unexpected<Error> AlreadyMounted(const std::string& mountpoint, const std::string& which = {});

// Detaches the dead mounts that path lookup finds at `mountpoint`, one after the other. The bare
// directory shows afterwards unless another mount lies beneath them: see fs/mount/kernel_mount.h.
Status RemoveDeadMounts(const std::string& mountpoint);

}  // namespace tandem::fs
