// Keeps mounts out of the stores in which tandemd keeps replicas (replica/STORE.md): what is
// changed there through a mount would be in no cut, and is overwritten by the next. Used by the
// thread that starts.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

// Refuses SOURCE and MOUNTPOINT if one of them is a store, a volume of one, or anything inside,
// also where it is reached by another mount of the same directory. `mountpoint` is without
// symbolic links.
Status CheckOutsideStores(int source_fd, const std::string& source, const std::string& mountpoint);

}  // namespace tandem::tools
