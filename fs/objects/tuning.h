// The numbers that fs/objects was tuned with: cache sizes, batches, waiting times. They can be
// changed without breaking anything but speed and memory use.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tandem::fs {

// ---- Inodes: inode_table.h ---------------------------------------------------------------------

// Parts of the table with a mutex each: enough that serving threads seldom meet.
inline constexpr size_t kInodeShards = 16;
// A shard with n Inodes halves its chains when it has more than kSparseChains * (n + 1).
inline constexpr size_t kSparseChains = 8;
// Inodes destroyed until memory is given back to the system: about 13 MB.
inline constexpr size_t kDestroyedPerTrim = 1 << 17;
// How long the kernel may take to forget an object after the last removal.
inline constexpr std::chrono::milliseconds kForgetTime{5};
// Pause between two looks whether the kernel has forgotten it.
inline constexpr std::chrono::microseconds kForgetPoll{100};

// ---- Cached O_PATH descriptors: descriptor_cache.h ---------------------------------------------

// Parts of the cache with a mutex each.
inline constexpr size_t kDescriptorShards = 16;
// Descriptors in the cache at most, however high RLIMIT_NOFILE is.
inline constexpr size_t kMaxCachedDescriptors = 16384;
// The cache takes one descriptor in this many of RLIMIT_NOFILE; applications' open files, pinned
// descriptors and the daemon itself share the rest.
inline constexpr size_t kCachedDescriptorsShare = 4;

// ---- Descriptors of removed objects: reaper.h --------------------------------------------------

// Descriptors that wake the reaper: to wake it costs more than one close.
inline constexpr size_t kReaperBatch = 64;
// How long the reaper waits for a batch to fill.
inline constexpr std::chrono::milliseconds kReaperBatchTime{5};
// Descriptors that may wait; beyond that the caller closes its own.
inline constexpr size_t kMaxReaperQueue = 4 * kReaperBatch;

// ---- Listings: listings.h, open_directory.h, known_names.h, walk_order.h -----------------------

// Listings under way that keep their place: a descriptor and a buffer each.
inline constexpr size_t kMaxListings = 256;

// Bytes of one getdents64: as glibc's readdir.
inline constexpr size_t kListingBuffer = 32 << 10;
// Seconds for which a name the kernel was told of counts as known.
inline constexpr uint16_t kKnownNamesSeconds = 10;
// Listed objects that are remembered, of about 70 bytes each.
inline constexpr size_t kMaxListed = 32768;
// Objects marked ahead of a walk at most: one that is not changed costs a comparison after a crash.
inline constexpr size_t kMaxMarkedAhead = 32;
// A walk that pauses for longer has ended: so slow a walk does not wait for marks.
inline constexpr std::chrono::milliseconds kWalkPause{500};

}  // namespace tandem::fs
