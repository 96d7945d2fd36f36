// The settings of a mount: from the command line of tandemfs, from what follows -o (for mount(8)
// and fstab: volume=, state=, replica=, interval=, max_changes=, stop_timeout=, bwlimit=,
// no_capture), and from the configuration file of the volume. The command line overrides -o, and
// that the file.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "fs/mount/tuning.h"
#include "fs/optimizations.h"
#include "meta/base/result.h"
#include "replica/source/replication.h"

namespace tandem::tools {

struct ReplicaArgument {
  std::string name;  // empty only with an invitation
  // Or @FILE, @- (stdin): the token of an invitation, which EnrolReplicas replaces by the URL.
  std::string url;
};

struct MountArguments {
  std::string source;
  std::string mountpoint;
  std::vector<ReplicaArgument> replicas;
  std::string volume;  // never empty once parsed
  std::string state;   // never empty once parsed
  std::chrono::milliseconds interval{5};
  uint64_t most_changes = replica::kMaxChangesRemembered;
  // How long the end may take to flush files that programs go on storing into through mappings.
  std::chrono::seconds stop_timeout = fs::kDefaultStopTimeout;
  bool capture = true;
  bool foreground = false;
  std::string fuse_options;  // the rest of -o
  std::string config;        // the configuration file; empty: none
  bool replicas_in_config = false;
  std::string bandwidth;  // of all replicas, as in replica/source/bandwidth.h; empty: as remembered
  std::string log_level;  // empty: as it is
  fs::Optimizations optimizations;
};

// Exits the process for --help, --version, --check-config and --list-fault-points. Fails with
// kUsage if the arguments or the configuration file are wrong. May be called again with the same
// arguments, for what has changed in the file.
// Then relative paths begin at `directory`, if it is not empty.
Result<MountArguments> ParseMountArguments(int argc, char** argv,
                                           const std::string& directory = {});

// Parses NAME=URL, or URL, in which case the part after :// is the name; likewise [NAME=]@FILE.
ReplicaArgument ParseReplica(const std::string& text);
// Checks the replicas against each other, and completes their URLs.
Status CheckReplicas(std::vector<ReplicaArgument>& replicas);

}  // namespace tandem::tools
