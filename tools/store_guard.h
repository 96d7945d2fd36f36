// Refuses mounts inside the stores in which tandemd keeps replicas (replica/STORE.md): a change
// made there through a mount would be in no cut, and the next cut would overwrite it. Used by the
// thread that starts.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

// Fails with kUsage if SOURCE or MOUNTPOINT is a store or lies inside one, also by another mount of
// the same directory. `mountpoint` has no symlinks.
Status CheckOutsideStores(int source_fd, const std::string& source, const std::string& mountpoint);

}  // namespace tandem::tools
