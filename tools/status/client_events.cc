// tandem events: one JSON object a line, of those in tools/status/events.h; with --follow also
// {"event":"cut","replica","cut"} when a replica has applied another cut, at most once a second.
#include <map>
#include <optional>

#include "tools/client_commands.h"
#include "tools/control.h"
#include "tools/mount_survey.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr int kWaitMs = 1000;
constexpr int kAnswerMs = 10'000;

// Prints a cut for each replica that has applied another since the last call.
void PrintCuts(const Json& cuts, std::map<std::string, uint64_t>& known) {
  for (const auto& [replica, cut] : cuts.items()) {
    const uint64_t number = cut.get<uint64_t>();
    const auto [before, is_new] = known.try_emplace(replica, number);
    if (is_new || before->second == number) continue;
    before->second = number;
    PrintJson({{"event", "cut"}, {"replica", replica}, {"cut", number}});
  }
}

}  // namespace

Result<int> RunEvents(const EventsOptions& options) {
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(options.mountpoint));
  std::map<std::string, uint64_t> cuts;
  Json request = {{"op", "events"}, {"timeout_ms", options.follow ? kWaitMs : 0}};
  if (!options.follow) request["from"] = 1;
  while (true) {
    ASSIGN_OR_RETURN(const Json reply, AskControl(socket, request, kAnswerMs));
    for (const Json& event : reply.value("events", Json::array())) PrintJson(event);
    if (options.follow) PrintCuts(reply.value("cuts", Json::object()), cuts);
    RETURN_IF_ERROR(FlushOutput());
    if (!options.follow) return EXIT_SUCCESS;
    request["from"] = reply.value("next", uint64_t{0});
  }
}

}  // namespace tandem::tools
