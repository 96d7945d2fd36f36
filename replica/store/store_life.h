// The life (meta/base/ids.h) of the filesystem that a store is on: one boot of the host, and one
// mount of the filesystem. What a process has written is still there in the same life, synced or
// not, even if the process was killed. A mount namespace of one's own begins another life, although
// nothing was lost; where boot or mount cannot be told, every call does. Any thread.
#pragma once

#include "meta/base/ids.h"

namespace tandem::replica {

LifeId LifeOf(int directory_fd);

}  // namespace tandem::replica
