// How long the kernel may answer from its own memory.
#pragma once

namespace tandem::fs {

// Seconds that attributes, and where names lead (or that they lead nowhere), stay valid. Every
// change comes through the mount and the kernel keeps its caches straight, so this bounds only how
// long an edit made behind the mount, which is outside capture, may stay unseen. With one second
// instead, git status in a tree it has just seen asked for each of its files again.
inline constexpr double kCacheSeconds = 3600.0;

// Of names that lead to directories, where the kernel cannot be told that something was mounted
// below SOURCE (before Linux 6.16, or libfuse 3.18).
inline constexpr double kUntoldCacheSeconds = 1.0;

}  // namespace tandem::fs
