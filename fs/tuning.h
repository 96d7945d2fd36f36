// The numbers that the handlers as a whole were tuned with; those of one folder stand in its own
// tuning.h. They can be changed without breaking anything but speed, and how soon edits behind the
// mount are seen.
#pragma once

#include <chrono>

namespace tandem::fs {

// Seconds for which the kernel may answer from its own caches: attributes, where names lead, and
// that they lead nowhere. All changes come through the mount and keep those caches right, so this
// only bounds how long an edit behind the mount, which is outside capture, stays unseen. With one
// second, git status asked again for each file of a tree that it had just seen.
inline constexpr double kCacheSeconds = 3600.0;
// The same for names of directories, where the kernel cannot be told that something was mounted
// below SOURCE (before Linux 6.16 or libfuse 3.18).
inline constexpr double kUntoldCacheSeconds = 1.0;

// Bytes of one write request at most: the largest the kernel sends.
inline constexpr unsigned kMaxWrite = 1 << 20;

// How long a request that found no room waits for removed objects to be freed.
inline constexpr std::chrono::milliseconds kFreedSpaceTimeout{1000};

}  // namespace tandem::fs
