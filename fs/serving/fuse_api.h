// The only includer of libfuse's low-level API, at the interface version this code is written
// against. The oldest libfuse supported is 3.14. Code that uses later operations or capabilities
// checks FUSE_VERSION, the version of the library.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 12)

#include <fuse_lowlevel.h>
