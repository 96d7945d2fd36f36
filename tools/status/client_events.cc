// tandem events: one JSON object a line, of those in tools/status/events.h; with --follow also
// {"event":"cut","replica","cut"} when a replica has applied another cut, at most once a second.
#include <signal.h>

#include <cstdio>
#include <map>
#include <string>

#include "meta/base/log.h"
#include "tools/client_commands.h"
#include "tools/control.h"
#include "tools/mount_survey.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr int kWaitMs = 1000;
constexpr int kAnswerMs = 10'000;

// Prints the event, or gives it to the command. What the command returns is its own matter.
void Tell(const Json& event, const EventsOptions& options) {
  if (options.command.empty()) return PrintJson(event);
  FILE* const command = popen(options.command.c_str(), "we");
  if (command == nullptr) {
    return Complain("tandem", ErrnoError("run " + options.command).value().ToString());
  }
  const std::string line = event.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
  std::fwrite(line.data(), 1, line.size(), command);
  pclose(command);
}

// Tells of a cut for each replica that has applied another since the last call.
void TellCuts(const Json& cuts, const EventsOptions& options,
              std::map<std::string, uint64_t>& known) {
  for (const auto& [replica, cut] : cuts.items()) {
    const uint64_t number = cut.get<uint64_t>();
    const auto [before, is_new] = known.try_emplace(replica, number);
    if (is_new || before->second == number) continue;
    before->second = number;
    Tell({{"event", "cut"}, {"replica", replica}, {"cut", number}}, options);
  }
}

}  // namespace

Result<int> RunEvents(const EventsOptions& options) {
  signal(SIGPIPE, SIG_IGN);  // a command may read nothing
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(options.mountpoint));
  std::map<std::string, uint64_t> cuts;
  Json request = {{"op", "events"}, {"timeout_ms", options.follow ? kWaitMs : 0}};
  if (!options.follow) request["from"] = 1;
  while (true) {
    ASSIGN_OR_RETURN(const Json reply, AskControl(socket, request, kAnswerMs));
    for (const Json& event : reply.value("events", Json::array())) Tell(event, options);
    if (options.follow) TellCuts(reply.value("cuts", Json::object()), options, cuts);
    RETURN_IF_ERROR(FlushOutput());
    if (!options.follow) return EXIT_SUCCESS;
    request["from"] = reply.value("next", uint64_t{0});
  }
}

}  // namespace tandem::tools
