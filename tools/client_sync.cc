// tandem sync: flushes what the kernel caches, then waits for the replicas, and reports which ones
// it waits for.
#include <algorithm>
#include <chrono>
#include <set>

#include "meta/base/log.h"
#include "tools/client_commands.h"
#include "tools/control.h"
#include "tools/flush_files.h"
#include "tools/mount_survey.h"

namespace tandem::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kAnswerMs = 5000;
// The server is asked to wait for so long at a time.
constexpr int kWaitSliceMs = 250;
// How often the replicas' states are checked while waiting.
constexpr std::chrono::seconds kLookEvery{2};

// Reports each replica that is paused, blocked or unreachable, once for each of these states.
class WaitReporter {
 public:
  WaitReporter(const std::string& socket, const std::string& replica)
      : socket_(socket), replica_(replica) {}

  void Look() {
    if (Clock::now() < next_) return;
    next_ = Clock::now() + kLookEvery;
    const auto status = AskControl(socket_, {{"op", "status"}}, kAnswerMs);
    if (!status) return;  // the wait reports it
    for (const Json& replica : status->value("replicas", Json::array())) {
      if (replica_.empty() || replica.value("name", "") == replica_) Report(replica);
    }
  }

 private:
  void Report(const Json& replica) {
    const std::string state = replica.value("state", "");
    const std::string name = replica.value("name", "");
    if (state != "paused" && state != "blocked" && state != "connecting") return;
    if (!said_.insert(name + "\n" + state).second) return;
    std::string text = "waiting for replica " + name + " at " + replica.value("url", "") + ": ";
    text += state == "connecting" ? "unreachable" : state;
    if (state == "paused") text += " (tandem resume lets it go on)";
    const std::string error = replica.value("error", "");
    Complain("tandem", text + (error.empty() ? "" : ": " + error));
  }

  const std::string& socket_;
  const std::string& replica_;  // empty: all
  Clock::time_point next_{};
  std::set<std::string> said_;  // names and states
};

}  // namespace

Status FlushMount(const std::string& socket, Clock::time_point deadline) {
  ASSIGN_OR_RETURN(const Json reply, AskControl(socket, {{"op", "held"}}, kAnswerMs));
  ASSIGN_OR_RETURN(const fs::WritableFiles writable, WritableFilesFrom(reply));
  const std::vector<fs::WritableFile> missed = FlushFiles(writable, deadline);
  if (missed.empty()) return {};
  std::string text = "flush " + missed.front().path;
  if (missed.size() > 1) text += " and " + std::to_string(missed.size() - 1) + " other files";
  return MakeError(
      ErrorKind::kUnreachable,
      text +
          ": programs have stored into it through mappings, and not everything could be "
          "written in time. Try again");
}

Result<int> RunSync(const SyncOptions& options) {
  const bool limited = options.timeout > std::chrono::milliseconds(0);
  const auto deadline = limited ? Clock::now() + options.timeout : Clock::time_point::max();
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(options.mountpoint));
  RETURN_IF_ERROR(FlushMount(socket, deadline));
  ASSIGN_OR_RETURN(const Json newest, AskControl(socket, {{"op", "newest"}}, kAnswerMs));
  WaitReporter reporter(socket, options.replica);
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    Json request = {{"op", "sync"},
                    {"epoch", newest.value("epoch", uint64_t{0})},
                    {"timeout_ms", std::clamp<int64_t>(left, 1, kWaitSliceMs)}};
    if (!options.replica.empty()) request["replica"] = options.replica;
    auto reply = AskControl(socket, request, kAnswerMs);
    if (reply) return EXIT_SUCCESS;
    const ErrorKind kind = reply.error().kind();
    const bool in_vain =
        kind == ErrorKind::kUsage || kind == ErrorKind::kUnreachable || kind == ErrorKind::kGivenUp;
    if (in_vain || Clock::now() >= deadline) return tl::unexpected<Error>(std::move(reply.error()));
    reporter.Look();
  }
}

}  // namespace tandem::tools
