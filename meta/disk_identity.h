// Whether the disks under SOURCE and the state directory may have lost what was written to them
// last (DESIGN section 4, "Recovery at start"). After a kill they have not: what was written is in
// the kernel. After a power cut, a forced unmount or an I/O error they may have: then the marks and
// the source itself may each be older than what replicas hold.
//
// For the thread that starts and ends a run.
#pragma once

#include <string>

#include "meta/base/result.h"
#include "meta/source_tree.h"
#include "meta/state_database.h"
#include "meta/state_writer.h"

namespace tandem::meta {

enum class LastEnd {
  kNone,          // there was no run before, or nothing is known of it
  kClean,         // it ended in order: the tables are exact
  kKilled,        // hot marks tell what may have changed
  kDiskUnclean,   // the above, and every replica has to be reconciled
  kContradicted,  // SOURCE has been changed since, or may have been: likewise
};

struct DiskIdentity {
  // Which boot of the machine, and which mounts of the two filesystems.
  std::string boot;
  std::string source_mount;
  std::string state_mount;
  // Which directory SOURCE is, whatever it is called, and what it is called.
  std::string source_root;
  std::string source_path;
};
// `source_mount` is what meta/mount_identity.h says of the mount that SOURCE is on.
Result<DiskIdentity> ReadDiskIdentity(const SourceTree& tree, const std::string& source,
                                      const std::string& source_mount,
                                      const std::string& state_directory);

// Why the tree may have been changed since the last run, although its disk is in order.
struct Suspicions {
  bool witnesses_agree = true;  // meta/witness.h
  // The bare directory was open to applications in place of the mount.
  bool uncovered = false;
};

// Says how the last run ended and begins this one, on stable storage. After kDiskUnclean and
// kContradicted all replicas are owed a reconcile, which compares the content of whatever they
// changed after the last cut that is known to have been synced. kUsage: the state speaks of another
// source.
Result<LastEnd> BeginRun(StateDatabase& database, const DiskIdentity& identity,
                         const Suspicions& suspicions);
// Everything is written down and synced.
Status EndRun(StateWriter& writer, const std::string& witnesses);

}  // namespace tandem::meta
