// Allows tandemd the system calls it uses, and no others (seccomp): whoever takes it over can
// neither start a program nor trace a process, mount, load a module or reach io_uring.
//
// A call that no replica daemon ever makes ends the process. Any other that is not on the list
// fails with ENOSYS, as on a kernel without it, so that a newer C library falls back to an older
// call.
#pragma once

#include "meta/base/result.h"

namespace tandem::tools {

// For all threads of the process, those that already run too, and for good. Sets no_new_privs. Does
// nothing in a build with sanitizers. Fails with EINVAL on a kernel that has no filters.
Status FilterSystemCalls();

// Returns false in a build with sanitizers, which use other calls.
bool FiltersSystemCalls();

}  // namespace tandem::tools
