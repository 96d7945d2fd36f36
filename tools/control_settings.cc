#include "tools/control_settings.h"

#include <chrono>
#include <ctime>

#include "meta/base/log.h"
#include "tools/config/given_settings.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {
namespace {

using replica::Replication;

// The limit of the command line or the configuration file counts again.
constexpr char kUsualBandwidth[] = "default";
constexpr int64_t kLongestPauseMs = int64_t{3650} * 24 * 3600 * 1000;

Json Done() { return {{"ok", true}}; }

Result<Json> Pause(const Json& request, Replication& replication) {
  const auto for_ms = request.value("for_ms", int64_t{0});
  if (for_ms < 0 || for_ms > kLongestPauseMs) {
    return MakeError(ErrorKind::kUsage, "pause for so long (ten years are the most)");
  }
  const int64_t until = for_ms == 0 ? 0 : time(nullptr) + (for_ms + 999) / 1000;
  RETURN_IF_ERROR(replication.SetPaused(ReplicaOf(request), true, until));
  return Done();
}

Result<Json> Resume(const Json& request, Replication& replication) {
  RETURN_IF_ERROR(replication.SetPaused(ReplicaOf(request), false));
  return Done();
}

// All is checked before anything is changed.
Result<Json> Set(const Json& request, Replication& replication) {
  const auto replica = ReplicaOf(request);
  RETURN_IF_ERROR(replication.Find(replica));
  std::optional<std::chrono::milliseconds> interval;
  if (request.contains("interval_ms")) {
    ASSIGN_OR_RETURN(interval,
                     ParseInterval(std::to_string(request.at("interval_ms").get<int64_t>())));
  }
  if (interval && replica) {
    return MakeError(ErrorKind::kUsage, "the interval is that of all replicas");
  }
  const auto level = request.value("log_level", std::string());
  RETURN_IF_ERROR(CheckLogLevel(level));
  const auto text = request.value("bwlimit", std::string());
  std::optional<replica::BandwidthSchedule> schedule;
  if (text != kUsualBandwidth) {
    ASSIGN_OR_RETURN(schedule, replica::BandwidthSchedule::Parse(text));
  }
  if (!text.empty()) RETURN_IF_ERROR(replication.SetBandwidth(replica, schedule));
  if (interval) replication.SetInterval(*interval);
  RETURN_IF_ERROR(SetLogLevel(level));
  return Done();
}

Result<Json> List(Replication& replication) {
  Json replicas = Json::array();
  for (const meta::ReplicaRecord& record : replication.Records()) {
    replicas.push_back({{"name", record.name},
                        {"url", record.url},
                        {"paused", record.paused},
                        {"bwlimit", record.bandwidth}});
  }
  return Json{{"replicas", replicas}};
}

// Completes the URL, and checks both as tandemfs does at its start.
Result<ReplicaArgument> ReplicaIn(const std::string& name, const std::string& url) {
  std::vector<ReplicaArgument> one = {{name, url}};
  if (url.starts_with('@')) {
    return MakeError(ErrorKind::kUsage, "use replica " + url + " (a URL is expected here)");
  }
  RETURN_IF_ERROR(CheckReplicas(one));
  return one.front();
}

Result<Json> Add(const Json& request, Replication& replication) {
  ASSIGN_OR_RETURN(const ReplicaArgument replica,
                   ReplicaIn(request.value("name", ""), request.value("url", "")));
  RETURN_IF_ERROR(replication.Add(replica.name, replica.url));
  return Done();
}

Result<Json> Rename(const Json& request, Replication& replication) {
  const std::string to = request.value("to", "");
  if (to.empty()) return MakeError(ErrorKind::kUsage, "rename a replica (its new name is missing)");
  RETURN_IF_ERROR(replication.Rename(request.value("name", ""), to));
  return Done();
}

Result<Json> SetUrl(const Json& request, Replication& replication) {
  ASSIGN_OR_RETURN(const ReplicaArgument replica,
                   ReplicaIn(request.value("name", ""), request.value("url", "")));
  RETURN_IF_ERROR(replication.SetUrl(replica.name, replica.url));
  return Done();
}

}  // namespace

std::optional<std::string> ReplicaOf(const Json& request) {
  const auto found = request.find("replica");
  if (found == request.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::optional<Result<Json>> ChangeSettings(const std::string& op, const Json& request,
                                           Replication& replication) {
  if (op == "pause") return Pause(request, replication);
  if (op == "resume") return Resume(request, replication);
  if (op == "set") return Set(request, replication);
  if (op == "replica-list") return List(replication);
  if (op == "replica-add") return Add(request, replication);
  if (op == "replica-rename") return Rename(request, replication);
  if (op == "replica-set-url") return SetUrl(request, replication);
  if (op == "replica-remove") {
    const Status removed = replication.Remove(request.value("name", ""));
    if (!removed) return tl::unexpected<Error>(removed.error());
    return Done();
  }
  return std::nullopt;
}

}  // namespace tandem::tools
