// Whether the kernel offers FUSE over io_uring, which a parameter of its module `fuse` allows or
// forbids for all mounts that are made from then on. It is off unless somebody turned it on.
#pragma once

#include "meta/base/result.h"

namespace tandem::fs {

enum class IoUring {
  kAuto,  // where the kernel offers it, or can be made to
  kOn,    // or the mount fails
  kOff,
};

// Returns whether a mount is to ask for io_uring. Turns the parameter on where it is off, if we
// may. Fails only for kOn.
Result<bool> OfferIoUring(IoUring wanted);

}  // namespace tandem::fs
