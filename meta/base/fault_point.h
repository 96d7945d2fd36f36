// Named places where a test may end the process, compiled in with -DTANDEM_FAULT_POINTS=ON and
// otherwise nothing. TANDEM_FAULT=name[:count] in the environment makes the count-th passage (first
// by default) of that point end the process by SIGKILL, exactly as `kill -9` would. Every point
// is listed below, so that the test can enumerate them
// (`tandemfs --list-fault-points`, `tandemd --list-fault-points`) and a misspelt one fails to
// compile.
//
// Any thread.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace tandem {

// Points passed by tandemfs, in the order a change meets them.
inline constexpr std::string_view kSourceFaultPoints[] = {
    "source.mark.before_commit",   "source.mark.after_commit",   "source.operation.in_gate",
    "source.operation.after_call", "source.operation.recorded",  "source.sync.before",
    "source.sync.after",           "source.cool.before_commit",  "source.cool.after_commit",
    "source.cut.frozen",           "source.cut.stored",          "source.ship.begun",
    "source.ship.chunk_sent",      "source.ship.before_commit",  "source.ship.after_commit",
    "source.ack.durable",          "source.ack.applied",         "source.drop.before_commit",
    "source.drop.after_commit",    "source.walk.directory",      "source.recover.before_commit",
    "source.recover.after_commit", "source.start.before_attach", "source.start.attached",
    "source.start.replaced",       "source.stop.taken_in",       "source.stop.detached",
};

// Points passed by tandemd.
inline constexpr std::string_view kReplicaFaultPoints[] = {
    "replica.stage.begun",         "replica.stage.file_written",
    "replica.stage.chunk_written", "replica.commit.before_sync",
    "replica.commit.after_sync",   "replica.redo.begun",
    "replica.redo.held",           "replica.redo.object_made",
    "replica.redo.file_moved",     "replica.redo.data_written",
    "replica.redo.entry_placed",   "replica.redo.entries_placed",
    "replica.redo.removed",        "replica.redo.attributes_set",
    "replica.redo.marker_written", "replica.redo.catalog_changed",
    "replica.sync.tree_synced",    "replica.sync.catalog_kept",
    "replica.sync.stage_removed",
};

// Passed by tandemd where the disk of its store is full.
inline constexpr std::string_view kFullDiskFaultPoints[] = {
    "replica.marker.spare_written", "replica.marker.spare_exchanged", "replica.stage.spare_filled",
    "replica.stage.spare_taken",    "replica.stage.spare_cleared",    "replica.redo.freed",
    "replica.redo.freed_all",
};

namespace internal {
consteval bool IsFaultPoint(std::string_view name) {
  return std::ranges::find(kSourceFaultPoints, name) != std::end(kSourceFaultPoints) ||
         std::ranges::find(kReplicaFaultPoints, name) != std::end(kReplicaFaultPoints) ||
         std::ranges::find(kFullDiskFaultPoints, name) != std::end(kFullDiskFaultPoints);
}
void PassFaultPoint(std::string_view name);
}  // namespace internal

}  // namespace tandem

#if defined(TANDEM_FAULT_POINTS)
#define FAULT_POINT(name)                                  \
  do {                                                     \
    static_assert(::tandem::internal::IsFaultPoint(name)); \
    ::tandem::internal::PassFaultPoint(name);              \
  } while (false)
#else
#define FAULT_POINT(name) \
  do {                    \
  } while (false)
#endif
