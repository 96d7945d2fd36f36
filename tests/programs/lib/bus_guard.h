// Stores through a mapping that another process may truncate at any moment.
#pragma once

#include <cstddef>

namespace tandem::programs {

// Once a process, before the first CopyGuarded.
void InstallBusGuard();

// memcpy that returns false instead of dying of SIGBUS. Any thread may call.
bool CopyGuarded(void* to, const void* from, size_t length);

}  // namespace tandem::programs
