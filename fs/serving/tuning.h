// The numbers that fs/serving was tuned with: thread counts, waiting times, limits. They can be
// changed without breaking anything but speed and memory use.
#pragma once

#include <chrono>
#include <cstddef>

namespace tandem::fs {

// ---- Threads that read requests: serving_threads.h ---------------------------------------------

// Threads for blocking requests, per thread of max_threads: a slow disk holds up as many at most.
inline constexpr unsigned kBlockingPerThread = 8;
// How long a surplus thread stays parked before it ends: to start one costs more than to keep it.
inline constexpr std::chrono::seconds kSurplusThreadLinger{10};
// Pause after ENOMEM from a read of /dev/fuse: the kernel needs time to free memory.
inline constexpr std::chrono::milliseconds kNoMemoryPause{10};
// How often Interrupt signals a thread that may have missed the signal before.
inline constexpr std::chrono::milliseconds kInterruptRepeat{5};
// Ticks without a request until the watch sleeps: an idle mount wakes no processor.
inline constexpr int kQuietTicksToSleep = 100;

// ---- How many threads wait for requests: reader_policy.h ---------------------------------------

// How often the policy looks: short beside the time a handler waits for a disk.
inline constexpr std::chrono::milliseconds kReaderTick{1};
// Ticks with two readers when help is first needed; then one is tried again.
inline constexpr int kTicksOfTwo = 4;
// Ticks with two readers at most: how late the policy notices that one is enough.
inline constexpr int kMaxTicksOfTwo = 128;
// If help is needed again within this many ticks, the next period of two readers is doubled.
inline constexpr int kTicksUntilSettled = 4;
// Ticks in a row for which one reader must be running to get help.
inline constexpr int kTicksAlwaysBusy = 8;
// With fewer processors a busy reader gets no help: the callers need the others.
inline constexpr unsigned kProcessorsToSpare = 4;

// ---- Waiting actively for the next request: reader_spin.h ---------------------------------------

// At most so long, about what it takes a virtual machine to wake a processor.
inline constexpr std::chrono::microseconds kMostSpin{100};
inline constexpr std::chrono::microseconds kLeastSpin{5};
// One part in so many of a processor's time may be waited in vain, and at most so much at a time.
inline constexpr int kSpinShare = 50;
inline constexpr std::chrono::milliseconds kMostSpinInVain{5};

// ---- Blocking requests put aside: blocking_requests.h ------------------------------------------

// Bytes of queued requests at most: the memory that a disk which does not answer may cost.
inline constexpr size_t kMaxQueuedBytes = 256 << 20;
// Bytes up to which a queued request is copied; a larger one takes its read buffer along.
inline constexpr size_t kMaxCopiedRequest = 64 << 10;
// Bytes that a queued request costs beside its own: list node and allocator.
inline constexpr size_t kQueuedOverhead = 512;

// ---- Requests over io_uring: ring_threads.h ----------------------------------------------------

// Entries of all processors together. Each has a thread, and memory of up to the largest request:
// so many requests can wait for a disk.
inline constexpr size_t kRingEntries = 256;
// Entries of a processor at least, more than kMostDelayedCalls.
inline constexpr size_t kLeastRingEntries = 8;
// Calls at a time that wait for other requests: delayed_calls.h.
inline constexpr int kMostDelayedCalls = 4;
// One in so many of the descriptors that the process may have, at most, is an entry's.
inline constexpr size_t kRingDescriptorShare = 8;
// Bytes of an entry's memory that are kept when nothing has come for kRingMemoryLinger.
inline constexpr size_t kRingMemoryKept = 64 << 10;
inline constexpr std::chrono::seconds kRingMemoryLinger{10};
// How often a thread whose request another answers looks whether it is to end.
inline constexpr std::chrono::milliseconds kRingAnswerLook{100};

}  // namespace tandem::fs
