// The numbers that the handlers in fs/ops were tuned with. They can be changed without breaking
// anything but speed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tandem::fs {

// Bytes from which a copy or fallocate counts as long (meta::Intent::Long): it may wait for what it
// reads, for dirty pages that it drops, or for room in the journal.
inline constexpr uint64_t kLongRange = 1 << 20;
// Bytes of one copy_file_range at most, so that a cut waits for no long one: callers continue a
// short copy.
inline constexpr size_t kMaxCopy = 8 << 20;
// How long statfs waits for removed objects to be freed, before it answers with what is free now.
inline constexpr std::chrono::milliseconds kStatfsTimeout{1000};

}  // namespace tandem::fs
