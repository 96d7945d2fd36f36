// The numbers that meta/state was tuned with. They can be changed without breaking anything but
// speed and the size of the database's log.
#pragma once

#include <chrono>
#include <cstddef>

namespace tandem::meta {

// ---- Checkpoints: checkpointer.h ----------------------------------------------------------------

// Pause between checkpoints; while the log has more than kBusyLogPages pages (of 4 KiB); and while
// nothing is written.
inline constexpr std::chrono::milliseconds kCheckpointPause{2000};
inline constexpr std::chrono::milliseconds kBusyCheckpointPause{100};
inline constexpr std::chrono::milliseconds kIdleCheckpointPause{5000};
inline constexpr int kLooksUntilIdle = 3;
inline constexpr int kBusyLogPages = 1024;
// From this length on a checkpoint blocks writers, so that the log restarts.
inline constexpr int kLongLogPages = 8192;

// ---- Writing: state_writer.h, state_database.h --------------------------------------------------

// A transaction that waits this long to begin is worth a line in the log: about as long as SQLite's
// busy timeout. How often the line is repeated, and the pause between attempts.
inline constexpr std::chrono::seconds kLongBeginWait{10};
inline constexpr std::chrono::seconds kRepeatBeginWait{60};
inline constexpr std::chrono::milliseconds kBeginPause{1};
// Places written after which the unused ones are deleted. Marks wait for the deletion, so it must
// be rare.
inline constexpr size_t kPlacesUntilCleaning = size_t{1} << 16;

}  // namespace tandem::meta
