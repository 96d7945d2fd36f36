// The numbers that meta/capture was tuned with: limits, waiting times, batches. They can be changed
// without breaking anything but speed and memory use. Policies of several numbers have files of
// their own: sync_cadence.h, gate_patience.h, meta/source/slow_disk.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tandem::meta {

// ---- Marks: marks.h, hot_object.h ---------------------------------------------------------------

// Bytes of a file that are marked ahead, at most: what is marked in vain is compared in vain after
// a crash.
inline constexpr uint64_t kMaxTouchedAhead = 256 << 20;

// ---- Cuts and layers: epochs.h, gate.h ----------------------------------------------------------

// A cut that waits for running operations this long is worth a line in the log.
inline constexpr std::chrono::seconds kLongGateWait{10};
// How often the closer of the gate yields, and then sleeps shortly, before it sleeps longer. Most
// operations take microseconds.
inline constexpr int kGateYields = 100;
inline constexpr int kGateShortNaps = 200;
// More layers than this are merged, oldest first: a replica far behind needs them all anyway.
inline constexpr size_t kMaxLayers = 16;
// Cuts are forgotten this many at a time, and never the newest: a sender that has just taken one
// has not said yet for which replica.
inline constexpr size_t kCutsForgottenAtOnce = 32;
inline constexpr size_t kNewestCutsKept = 16;

// ---- Frozen cuts: frozen_cut.h ------------------------------------------------------------------

// Descriptors of unlinked objects that one cut keeps, at most.
inline constexpr size_t kMaxUnlinkedPreserved = 4096;
// Bytes that one operation has to read and preserve before it goes on, at most.
inline constexpr uint64_t kMaxPreservedPerOperation = 4 << 20;
// Bytes that are read and preserved at a time.
inline constexpr uint64_t kPreservedPiece = 1 << 20;
// Extents of a file that are read at a time.
inline constexpr size_t kExtentsAtATime = 1024;

// ---- Cooling: cooling.h, operation.cc -----------------------------------------------------------

// A directory with more names pending than this (a replica is away) is written down as wholly
// changed: after a crash its names are compared, and what was born in it is found that way. Writing
// them one by one each time the directory cools would hold up every mark.
inline constexpr size_t kMaxNamesWritten = 1024;
// Objects that are written down in one transaction, about: marks wait for it.
inline constexpr size_t kMaxCooledAtOnce = 512;
// Bytes that one change counts as written, at most: a longer range has an end that was not known.
inline constexpr uint64_t kMaxWrittenCounted = 8 << 20;

// ---- What could not be read: deferred_changes.h -------------------------------------------------

// How long a change that could not be read is deferred.
inline constexpr std::chrono::milliseconds kDeferFor{5000};

}  // namespace tandem::meta
