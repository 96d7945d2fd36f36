// Fault points: named places where a test can kill the process. They are compiled in with
// -DTANDEM_FAULT_POINTS=ON and cost nothing otherwise. If TANDEM_FAULT=name[:count] is in the
// environment, the count-th passage of that point (by default the first) sends the process SIGKILL,
// as `kill -9` does. All points are listed below, so that a test can enumerate them
// (`tandemfs --list-fault-points`, `tandemd --list-fault-points`) and a misspelt name does not
// compile.
//
// Any thread.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace tandem {

// Points in tandemfs, in the order in which a change passes them.
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

// Points in tandemd.
inline constexpr std::string_view kReplicaFaultPoints[] = {
    "replica.stage.begun",
    "replica.stage.file_written",
    "replica.stage.chunk_written",
    "replica.commit.before_sync",
    "replica.commit.after_sync",
    "replica.redo.begun",
    "replica.redo.held",
    "replica.redo.kept",
    "replica.redo.object_made",
    "replica.redo.file_moved",
    "replica.redo.data_written",
    "replica.redo.entry_placed",
    "replica.redo.entries_placed",
    "replica.redo.removed",
    "replica.redo.attributes_set",
    "replica.redo.marker_written",
    "replica.redo.catalog_changed",
    "replica.sync.tree_synced",
    "replica.sync.catalog_kept",
    "replica.sync.stage_removed",
};

// Points that tandemd passes only if the disk of its store is full.
inline constexpr std::string_view kFullDiskFaultPoints[] = {
    "replica.marker.spare_written", "replica.marker.spare_exchanged", "replica.stage.spare_filled",
    "replica.stage.spare_taken",    "replica.stage.spare_cleared",    "replica.redo.freed",
    "replica.redo.freed_all",
};

// Points in `tandemd import`.
inline constexpr std::string_view kImportFaultPoints[] = {
    "replica.import.begun", "replica.import.described", "replica.import.synced",
    "replica.import.moved", "replica.import.finished",
};

namespace internal {
consteval bool IsFaultPoint(std::string_view name) {
  return std::ranges::find(kSourceFaultPoints, name) != std::end(kSourceFaultPoints) ||
         std::ranges::find(kReplicaFaultPoints, name) != std::end(kReplicaFaultPoints) ||
         std::ranges::find(kFullDiskFaultPoints, name) != std::end(kFullDiskFaultPoints) ||
         std::ranges::find(kImportFaultPoints, name) != std::end(kImportFaultPoints);
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
