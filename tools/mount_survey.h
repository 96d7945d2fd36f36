// This user's mounts, those included that nobody serves any more: a tandemfs that was killed leaves
// its mount behind. Read from the mount table and from the locks beside the control sockets; no
// mount is asked for anything, as it may hang.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "tools/control.h"

namespace tandem::tools {

struct SurveyedMount {
  std::string mountpoint;  // empty: only its socket is seen from here
  std::string source;
  std::string socket;
  bool served = false;
};

// In the order of their mountpoints. A filesystem that is shown in several places is one mount.
Result<std::vector<SurveyedMount>> SurveyMounts();

// The mount that holds `path`, dead or alive; kUsage if there is none.
Result<SurveyedMount> FindMount(const std::string& path);

// What status says of a mount: the object of its tandemfs, with "mount": "live"; or only
// "mountpoint", "source", "socket" and "mount", which is then "dead" (nobody serves it) or "stuck"
// (whoever serves it does not answer in time). Null if it went in order meanwhile.
Result<Json> AskStatus(const SurveyedMount& mount, int timeout_ms);
// Of all of them at once, so that one that is stuck holds up no other. In the order given.
std::vector<Result<Json>> AskStatuses(const std::vector<SurveyedMount>& mounts, int timeout_ms);

// How well all is, as an exit code: the highest that applies.
inline constexpr int kAllIsWell = 0;
inline constexpr int kCouldNotAsk = 1;
inline constexpr int kReplicaIsBlocked = 3;
inline constexpr int kMountIsDead = 4;
inline constexpr int kMountIsStuck = 5;
int StatusExitCode(const std::vector<Json>& statuses);

}  // namespace tandem::tools
