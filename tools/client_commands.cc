#include "tools/client_commands.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "meta/base/log.h"
#include "tools/control.h"
#include "tools/mount_survey.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr int kAnswerMs = 5000;

std::string Bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

uint64_t Number(const Json& json, const char* key) { return json.value(key, uint64_t{0}); }

// Returns the pending counts as text.
std::string Counted(const Json& pending) {
  return std::to_string(Number(pending, "objects")) + " objects, " +
         std::to_string(Number(pending, "entries")) + " names, " + Bytes(Number(pending, "bytes")) +
         " in " + std::to_string(Number(pending, "ranges")) + " ranges";
}

void PrintReplica(const Json& replica) {
  PrintLine("  replica {} ({}): {}, cut {} applied, lag {:.1f} s, {} sent",
            replica.value("name", ""), replica.value("url", ""), replica.value("state", ""),
            Number(replica, "applied_cut"), replica.value("lag_seconds", 0.0),
            Bytes(Number(replica, "sent_bytes")));
  if (const Json pending = replica.value("pending", Json::object());
      Number(pending, "objects") != 0) {
    PrintLine("    pending: {}", Counted(pending));
  }
  if (const Json content = replica.value("content", Json::object());
      Number(content, "delta") + Number(content, "copied") != 0) {
    PrintLine(
        "    content: {} sent as it is, {} as deltas, {} as copies of what is there; {} saved "
        "by compression",
        Bytes(Number(content, "plain")), Bytes(Number(content, "delta")),
        Bytes(Number(content, "copied")), Bytes(Number(content, "compressed")));
  }
  if (const auto progress = replica.find("progress"); progress != replica.end()) {
    PrintLine("    so far {} objects, {} of content", Number(*progress, "objects"),
              Bytes(Number(*progress, "bytes")));
  }
  for (const char* key : {"error", "notice"}) {
    const std::string text = replica.value(key, "");
    if (!text.empty()) PrintLine("    {}", text);
  }
}

void PrintWithoutAnswer(const Json& status) {
  const bool dead = status.value("mount", "") == "dead";
  PrintLine("{} on {}: {}", status.value("source", "?"), status.value("mountpoint", "?"),
            dead ? "dead" : "stuck");
  if (dead) {
    PrintLine(
        "  its tandemfs was killed: all access fails. Start tandemfs on it again, or detach it "
        "(umount -l)");
  } else {
    PrintLine(
        "  its tandemfs runs but does not answer at {}: check whether it is stopped or waits for a "
        "disk",
        status.value("socket", ""));
  }
}

void PrintStatus(const Json& status) {
  if (status.value("mount", "") != "live") return PrintWithoutAnswer(status);
  PrintLine("{} on {} (volume {}){}", status.value("source", ""), status.value("mountpoint", ""),
            status.value("volume", ""), status.value("capture", true) ? "" : ", without capture");
  const Json pending = status.value("pending", Json::object());
  PrintLine("  epoch {}, pending: {}; {} hot objects", Number(status, "epoch"), Counted(pending),
            Number(status, "hot_objects"));
  for (const Json& replica : status.value("replicas", Json::array())) PrintReplica(replica);
  if (status.value("io_uring", false)) PrintLine("  requests come over io_uring");
  for (const std::string& path : status.value("not_replicated", std::vector<std::string>())) {
    PrintLine("  not replicated: {}, another filesystem mounted there", path);
  }
}

struct Statuses {
  std::vector<Json> of_mounts;
  int exit_code = kAllIsWell;
};

// Asks the mount that contains `path`, or all mounts if it is empty.
Result<Statuses> StatusesOf(const std::string& path) {
  Statuses statuses;
  if (!path.empty()) {
    ASSIGN_OR_RETURN(const SurveyedMount mount, FindMount(path));
    ASSIGN_OR_RETURN(Json status, AskStatus(mount, kAnswerMs));
    if (status.is_null()) {
      return MakeError(ErrorKind::kUnreachable, path + " has just been unmounted");
    }
    statuses.of_mounts.push_back(std::move(status));
  } else {
    ASSIGN_OR_RETURN(const std::vector<SurveyedMount> mounts, SurveyMounts());
    for (Result<Json>& status : AskStatuses(mounts, kAnswerMs)) {
      if (!status) {
        Complain("tandem", status.error().ToString());
        statuses.exit_code = kCouldNotAsk;
      } else if (!status->is_null()) {
        statuses.of_mounts.push_back(std::move(*status));
      }
    }
  }
  statuses.exit_code = std::max(statuses.exit_code, StatusExitCode(statuses.of_mounts));
  return statuses;
}

}  // namespace

Result<int> RunStatus(const StatusOptions& options) {
  while (true) {
    ASSIGN_OR_RETURN(const Statuses statuses, StatusesOf(options.mountpoint));
    if (options.watch && !options.json && isatty(STDOUT_FILENO) != 0) printf("\033[H\033[2J");
    if (!options.json) {
      if (statuses.of_mounts.empty()) PrintLine("nothing is mounted");
      for (const Json& status : statuses.of_mounts) PrintStatus(status);
    } else if (!options.mountpoint.empty()) {
      PrintJson(statuses.of_mounts.front());
    } else {
      PrintJson(Json(statuses.of_mounts));
    }
    RETURN_IF_ERROR(FlushOutput());
    if (!options.watch) return statuses.exit_code;
    const timespec second{1, 0};
    nanosleep(&second, nullptr);
  }
}

}  // namespace tandem::tools
