// The place a tandemfs is mounted on, and the tandemfs that stands there already. Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::fs {

// The absolute name of a mountpoint without symlinks, also where a dead mount hides it.
Result<std::string> ResolveMountpoint(const std::string& mountpoint);

enum class Occupant {
  kNone,  // no tandemfs; whatever else is mounted there will be covered
  kDead,  // a tandemfs whose daemon has died: calls on it give ENOTCONN
  kLive,
};
// What path lookup finds at `mountpoint`, a name from ResolveMountpoint. Asks a live tandemfs, so
// it waits as long as that one takes to answer.
Result<Occupant> OccupantOf(const std::string& mountpoint);

tl::unexpected<Error> AlreadyMounted(const std::string& mountpoint);

// Detaches the dead mounts that path lookup finds at `mountpoint`, one after the other. If nothing
// of ours lies beneath them, the bare directory shows then: see fs/mount/kernel_mount.h.
Status RemoveDeadMounts(const std::string& mountpoint);

}  // namespace tandem::fs
