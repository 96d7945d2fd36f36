// The one door to libfuse's low-level API, at the interface version we are written against. Newer
// libraries (FUSE_VERSION) bring operations and capabilities that 3.14, the oldest we build with,
// lacks: code for those stands behind a check of FUSE_VERSION.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 12)

#include <fuse_lowlevel.h>
