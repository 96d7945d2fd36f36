// Subcommands that change the settings and replicas of a running mount (tools/control_settings.h).
#include <cstdlib>

#include "tools/client_commands.h"
#include "tools/config/given_settings.h"
#include "tools/control.h"
#include "tools/enrol_replicas.h"
#include "tools/mount_arguments.h"
#include "tools/mount_survey.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr int kAnswerMs = 5000;
// A sender is stopped, and the state written, which waits for the disk.
constexpr int kChangeMs = 60'000;

Result<int> Request(const std::string& mountpoint, const Json& request, int timeout_ms) {
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(mountpoint));
  RETURN_IF_ERROR(AskControl(socket, request, timeout_ms));
  return EXIT_SUCCESS;
}

}  // namespace

Result<int> RunPause(const PauseOptions& options, bool paused) {
  Json request = {{"op", paused ? "pause" : "resume"}};
  if (!options.replica.empty()) request["replica"] = options.replica;
  if (options.time.count() != 0) request["for_ms"] = options.time.count();
  return Request(options.mountpoint, request, kAnswerMs);
}

Result<int> RunSet(const SetOptions& options) {
  Json request = {{"op", "set"}};
  if (!options.replica.empty()) request["replica"] = options.replica;
  if (!options.bandwidth.empty()) request["bwlimit"] = options.bandwidth;
  if (!options.log_level.empty()) request["log_level"] = options.log_level;
  if (!options.interval.empty()) {
    ASSIGN_OR_RETURN(const auto interval, ParseInterval(options.interval));
    request["interval_ms"] = interval.count();
  }
  if (request.size() == 1 + size_t{!options.replica.empty()}) {
    return MakeError(ErrorKind::kUsage,
                     "nothing to set: give --interval, --bwlimit or --log-level");
  }
  return Request(options.mountpoint, request, kAnswerMs);
}

Result<int> RunReload(const std::string& mountpoint) {
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(mountpoint));
  ASSIGN_OR_RETURN(const Json reply, AskControl(socket, {{"op", "reload"}}, kChangeMs));
  for (const std::string& line : reply.value("changed", std::vector<std::string>())) {
    PrintLine("{}", line);
  }
  for (const std::string& line : reply.value("at_next_start", std::vector<std::string>())) {
    PrintLine("{}: from the next start on", line);
  }
  return EXIT_SUCCESS;
}

Result<int> RunReplicaList(const ReplicaOptions& options) {
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(options.mountpoint));
  ASSIGN_OR_RETURN(const Json reply, AskControl(socket, {{"op", "replica-list"}}, kAnswerMs));
  const Json replicas = reply.value("replicas", Json::array());
  if (options.json) {
    PrintJson(replicas);
    return EXIT_SUCCESS;
  }
  if (replicas.empty()) PrintLine("no replica");
  for (const Json& replica : replicas) {
    const std::string limit = replica.value("bwlimit", "");
    PrintLine("{} {}{}{}", replica.value("name", ""), replica.value("url", ""),
              replica.value("paused", false) ? ", paused" : "",
              limit.empty() ? "" : ", limited to " + limit);
  }
  return EXIT_SUCCESS;
}

// An invitation is redeemed in this process: the key belongs to its user, as the mount does.
Result<int> RunReplicaAdd(const ReplicaOptions& options) {
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(options.mountpoint));
  std::vector<ReplicaArgument> replicas = {ParseReplica(options.value)};
  RETURN_IF_ERROR(CheckReplicas(replicas));
  // An invitation can be redeemed once.
  ASSIGN_OR_RETURN(const Json list, AskControl(socket, {{"op", "replica-list"}}, kAnswerMs));
  for (const Json& replica : list.value("replicas", Json::array())) {
    if (replica.value("name", "") != replicas.front().name) continue;
    return MakeError(ErrorKind::kUsage,
                     "a replica is called " + replicas.front().name + " already");
  }
  RETURN_IF_ERROR(EnrolReplicas(replicas));
  const Json request = {
      {"op", "replica-add"}, {"name", replicas.front().name}, {"url", replicas.front().url}};
  RETURN_IF_ERROR(AskControl(socket, request, kChangeMs));
  PrintLine("added replica {} at {}; it is being filled (tandem status)", replicas.front().name,
            replicas.front().url);
  return EXIT_SUCCESS;
}

Result<int> RunReplicaRemove(const ReplicaOptions& options) {
  return Request(options.mountpoint, {{"op", "replica-remove"}, {"name", options.name}}, kChangeMs);
}

Result<int> RunReplicaRename(const ReplicaOptions& options) {
  const Json request = {{"op", "replica-rename"}, {"name", options.name}, {"to", options.value}};
  return Request(options.mountpoint, request, kChangeMs);
}

Result<int> RunReplicaSetUrl(const ReplicaOptions& options) {
  const Json request = {{"op", "replica-set-url"}, {"name", options.name}, {"url", options.value}};
  return Request(options.mountpoint, request, kChangeMs);
}

}  // namespace tandem::tools
