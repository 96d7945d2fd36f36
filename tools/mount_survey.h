// Lists this user's mounts, also dead ones: a tandemfs that was killed leaves its mount behind.
// Reads the mount table and the locks beside the control sockets. Sends no request to a mount,
// since it may hang.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "tools/control.h"

namespace tandem::tools {

struct SurveyedMount {
  std::string mountpoint;  // empty if it is not in this process's mount table
  std::string source;
  std::string socket;
  bool served = false;  // a tandemfs serves it
};

// Returns them sorted by mountpoint. A filesystem mounted in several places is one mount.
Result<std::vector<SurveyedMount>> SurveyMounts();

// Returns the mount that contains `path`, dead or alive. Fails with kUsage if there is none.
Result<SurveyedMount> FindMount(const std::string& path);

// Returns the control socket of the mount that contains `path`. If nobody serves it, waits a few
// seconds: during a takeover one tandemfs has ended and the other does not listen yet.
Result<std::string> FindServedSocket(const std::string& path);

// Asks a mount for its status. Returns the reply with "mount": "live" added; or only "mountpoint",
// "source", "socket" and "mount", which is "dead" (no tandemfs serves it) or "stuck" (its tandemfs
// does not answer in time). Returns null if the mount was unmounted meanwhile.
Result<Json> AskStatus(const SurveyedMount& mount, int timeout_ms);
// Asks all mounts in parallel, so that a stuck one does not delay the others. In the order given.
std::vector<Result<Json>> AskStatuses(const std::vector<SurveyedMount>& mounts, int timeout_ms);

// Exit codes of tandem status. The highest that applies is used.
inline constexpr int kAllIsWell = 0;
inline constexpr int kCouldNotAsk = 1;
inline constexpr int kReplicaIsBlocked = 3;
inline constexpr int kMountIsDead = 4;
inline constexpr int kMountIsStuck = 5;
int StatusExitCode(const std::vector<Json>& statuses);

}  // namespace tandem::tools
