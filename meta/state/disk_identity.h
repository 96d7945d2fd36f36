// Determines how the last run ended, and whether the disks under SOURCE and the state directory may
// have lost their last writes (DESIGN section 4, "Recovery at start"). After a kill nothing is
// lost, because the kernel holds what was written. After a power cut, a forced unmount or an I/O
// error writes may be lost: the marks and the source itself may each be older than what replicas
// hold.
//
// For the thread that starts and ends a run.
#pragma once

#include <string>

#include "meta/base/result.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_database.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {

enum class LastEnd {
  kNone,          // there was no last run, or nothing is known of it
  kClean,         // it ended cleanly; the tables are exact
  kKilled,        // it was killed; the hot marks tell what may have changed
  kDiskUnclean,   // as kKilled, and every replica has to be reconciled
  kContradicted,  // SOURCE was or may have been changed since; every replica has to be reconciled
};

struct DiskIdentity {
  // The boot of the machine, and the mounts of the two filesystems.
  std::string boot;
  std::string source_mount;
  std::string state_mount;
  // The identity of the directory SOURCE, independent of its path, and its path.
  std::string source_root;
  std::string source_path;
};
// `source_mount` is the identity (meta/source/mount_identity.h) of the mount that SOURCE is on.
Result<DiskIdentity> ReadDiskIdentity(const SourceTree& tree, const std::string& source,
                                      const std::string& source_mount,
                                      const std::string& state_directory);

// Reasons to suspect that the tree was changed since the last run although no write was lost.
struct Suspicions {
  bool witnesses_agree = true;  // meta/state/witness.h
  // Applications may have reached the bare directory in place of the mount.
  bool uncovered = false;
};

// Returns how the last run ended, and records on stable storage that a new run has begun. After
// kDiskUnclean and kContradicted every replica is owed a reconcile, which compares the content of
// everything the replica changed after the last cut that is known to have been synced. Returns
// kUsage if the state belongs to another source.
Result<LastEnd> BeginRun(StateDatabase& database, const DiskIdentity& identity,
                         const Suspicions& suspicions);
// Returns the life that the source's disk is in. BeginRun begins another unless the last run ended
// kClean or kKilled, in the same boot and mounts: after a clean end, too, an image may be put back.
// Null if there was no run.
Result<LifeId> CurrentLife(StateDatabase& database);
// Records on stable storage that the run ended cleanly. Requires that everything pending is in the
// tables and the source is synced.
Status EndRun(StateWriter& writer, const std::string& witnesses);

}  // namespace tandem::meta
