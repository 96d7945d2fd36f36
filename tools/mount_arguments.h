// The command line of tandemfs. For mount(8) and fstab the same options can be given after -o:
// volume=, state=, replica=, interval=, max_changes=, stop_timeout=, no_capture.
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
  fs::Optimizations optimizations;
};

// Exits the process for --help, --version and --list-fault-points. Fails with kUsage if the
// arguments are wrong.
Result<MountArguments> ParseMountArguments(int argc, char** argv);

// Checks the replicas against each other, and completes their URLs.
Status CheckReplicas(std::vector<ReplicaArgument>& replicas);

}  // namespace tandem::tools
