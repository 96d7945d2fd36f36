#include "tools/client_commands.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "meta/base/log.h"
#include "tools/control.h"
#include "tools/print.h"
#include "tools/take_in.h"

namespace tandem::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kAnswerMs = 5000;
// A request that waits is split into waits of this length.
constexpr int kWaitSliceMs = 250;

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

void PrintReplica(const Json& replica) {
  PrintLine("  replica {} ({}): {}, cut {} applied, lag {:.1f} s, {} sent",
            replica.value("name", ""), replica.value("url", ""), replica.value("state", ""),
            Number(replica, "applied_cut"), replica.value("lag_seconds", 0.0),
            Bytes(Number(replica, "sent_bytes")));
  if (const auto progress = replica.find("progress"); progress != replica.end()) {
    PrintLine("    so far {} objects, {} of content", Number(*progress, "objects"),
              Bytes(Number(*progress, "bytes")));
  }
  for (const char* key : {"error", "notice"}) {
    const std::string text = replica.value(key, "");
    if (!text.empty()) PrintLine("    {}", text);
  }
}

void PrintStatus(const Json& status) {
  PrintLine("{} on {} (volume {}){}", status.value("source", ""), status.value("mountpoint", ""),
            status.value("volume", ""), status.value("capture", true) ? "" : ", without capture");
  const Json pending = status.value("pending", Json::object());
  PrintLine("  epoch {}, pending: {} objects, {} names, {} in {} ranges; {} hot objects",
            Number(status, "epoch"), Number(pending, "objects"), Number(pending, "entries"),
            Bytes(Number(pending, "bytes")), Number(pending, "ranges"),
            Number(status, "hot_objects"));
  for (const Json& replica : status.value("replicas", Json::array())) PrintReplica(replica);
  if (status.value("io_uring", false)) PrintLine("  requests come over io_uring");
  for (const std::string& path : status.value("not_replicated", std::vector<std::string>())) {
    PrintLine("  not replicated: {}, another filesystem mounted there", path);
  }
}

Result<std::vector<Json>> AskStatuses(const std::string& mountpoint) {
  std::vector<Json> statuses;
  if (!mountpoint.empty()) {
    ASSIGN_OR_RETURN(const std::string socket, FindControlSocket(mountpoint));
    ASSIGN_OR_RETURN(Json status, AskControl(socket, {{"op", "status"}}, kAnswerMs));
    statuses.push_back(std::move(status));
    return statuses;
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> sockets, AllControlSockets());
  for (const std::string& socket : sockets) {
    auto status = AskControl(socket, {{"op", "status"}}, kAnswerMs);
    if (status) {
      statuses.push_back(std::move(*status));
    } else {
      Complain("tandem", status.error().ToString());
    }
  }
  return statuses;
}

Json WithReplica(Json request, const std::string& replica) {
  if (!replica.empty()) request["replica"] = replica;
  return request;
}

}  // namespace

Status TakeInStores(const std::string& socket, Clock::time_point deadline) {
  ASSIGN_OR_RETURN(const Json reply, AskControl(socket, {{"op", "held"}}, kAnswerMs));
  ASSIGN_OR_RETURN(const fs::HeldStores held, HeldStoresFrom(reply));
  const std::vector<fs::HeldFile> missed = TakeIn(held, deadline);
  if (missed.empty()) return {};
  std::string text = "not everything that was stored into " + missed.front().path;
  if (missed.size() > 1) text += " and " + std::to_string(missed.size() - 1) + " other files";
  return MakeError(ErrorKind::kUnreachable, text + " could be taken in: try again");
}

Result<int> RunStatus(const StatusOptions& options) {
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<Json> statuses, AskStatuses(options.mountpoint));
    if (options.watch && !options.json && isatty(STDOUT_FILENO) != 0) printf("\033[H\033[2J");
    if (!options.json) {
      if (statuses.empty()) PrintLine("nothing is mounted");
      for (const Json& status : statuses) PrintStatus(status);
    } else if (!options.mountpoint.empty()) {
      PrintJson(statuses.front());
    } else {
      PrintJson(Json(statuses));
    }
    fflush(stdout);
    if (!options.watch) return EXIT_SUCCESS;
    const timespec second{1, 0};
    nanosleep(&second, nullptr);
  }
}

Result<int> RunSync(const SyncOptions& options) {
  const auto deadline =
      options.timeout_seconds > 0
          ? Clock::now() +
                std::chrono::milliseconds(static_cast<int64_t>(options.timeout_seconds * 1000))
          : Clock::time_point::max();
  ASSIGN_OR_RETURN(const std::string socket, FindControlSocket(options.mountpoint));
  RETURN_IF_ERROR(TakeInStores(socket, deadline));
  ASSIGN_OR_RETURN(const Json newest, AskControl(socket, {{"op", "newest"}}, kAnswerMs));
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const Json request = WithReplica({{"op", "sync"},
                                      {"epoch", newest.value("epoch", uint64_t{0})},
                                      {"timeout_ms", std::clamp<int64_t>(left, 1, kWaitSliceMs)}},
                                     options.replica);
    auto reply = AskControl(socket, request, kAnswerMs);
    if (reply) return EXIT_SUCCESS;
    if (reply.error().kind() == ErrorKind::kUsage || Clock::now() >= deadline) {
      return tl::unexpected<Error>(std::move(reply.error()));
    }
    if (reply.error().kind() == ErrorKind::kUnreachable) {
      return tl::unexpected<Error>(std::move(reply.error()));
    }
  }
}

Result<int> RunPause(const PauseOptions& options, bool paused) {
  ASSIGN_OR_RETURN(const std::string socket, FindControlSocket(options.mountpoint));
  const Json request = WithReplica({{"op", paused ? "pause" : "resume"}}, options.replica);
  ASSIGN_OR_RETURN(const Json reply, AskControl(socket, request, kAnswerMs));
  (void)reply;
  return EXIT_SUCCESS;
}

}  // namespace tandem::tools
