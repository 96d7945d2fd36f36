// The command line of tandemfs, and what mount(8) makes of a line of fstab: the same options may
// stand after -o (volume=, state=, replica=, interval=, max_changes=, stop_timeout=, no_capture).
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
  std::string name;
  std::string url;
};

struct MountArguments {
  std::string source;
  std::string mountpoint;
  std::vector<ReplicaArgument> replicas;
  std::string volume;  // never empty once parsed
  std::string state;   // likewise
  std::chrono::milliseconds interval{5};
  uint64_t most_changes = replica::Replication::kMostChanges;
  // How long the end may take in what programs go on storing through mappings.
  std::chrono::seconds stop_timeout = fs::kDefaultStopTimeout;
  bool capture = true;
  bool foreground = false;
  std::string fuse_options;  // what is left of -o
  fs::Optimizations optimizations;
};

// Ends the process for --help, --version and --list-fault-points. ErrorKind::kUsage: the arguments
// make no sense, the message says why.
Result<MountArguments> ParseMountArguments(int argc, char** argv);

}  // namespace tandem::tools
