#include "tools/status/print_status.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <string_view>
#include <vector>

#include "tools/print.h"

namespace tandem::tools {

std::string BytesText(uint64_t bytes) {
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

std::string TimeText(double seconds) {
  char text[48];
  const int64_t whole = std::llround(seconds);
  if (seconds < 60) {
    snprintf(text, sizeof text, "%.1f s", seconds);
  } else if (whole < 3600) {
    snprintf(text, sizeof text, "%d min %d s", static_cast<int>(whole / 60),
             static_cast<int>(whole % 60));
  } else if (whole < 48 * 3600) {
    snprintf(text, sizeof text, "%d h %d min", static_cast<int>(whole / 3600),
             static_cast<int>(whole % 3600 / 60));
  } else {
    snprintf(text, sizeof text, "%lld days", static_cast<long long>(whole / (24 * 3600)));
  }
  return text;
}

bool TakesColours() {
  const char* const no_colour = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
}

namespace {

uint64_t Number(const Json& json, const char* key) { return json.value(key, uint64_t{0}); }

// Returns the pending counts as text.
std::string Counted(const Json& pending) {
  return std::to_string(Number(pending, "objects")) + " objects, " +
         std::to_string(Number(pending, "entries")) + " names, " +
         BytesText(Number(pending, "bytes")) + " in " + std::to_string(Number(pending, "ranges")) +
         " ranges";
}

struct Words {
  std::string_view state;
  std::string_view words;
  std::string_view colour;
};
constexpr std::string_view kGreen = "32";
constexpr std::string_view kYellow = "33";
constexpr std::string_view kRed = "31";
constexpr Words kWords[] = {
    {"current", "current: it has everything but the last moment", kGreen},
    {"catching-up", "catching up with what has changed", kYellow},
    {"seeding", "seeding: it gets its first copy", kYellow},
    {"reconciling", "reconciling: its tree is compared with the source", kYellow},
    {"connecting", "connecting: it is not reached", kRed},
    {"paused", "paused", kYellow},
    {"blocked", "blocked: it needs a person", kRed},
};

// Returns the state in words, coloured on a terminal.
std::string StateText(const std::string& state) {
  const auto* const words = std::ranges::find(kWords, state, &Words::state);
  if (words == std::end(kWords)) return state;
  return std::string(words->words);
}

std::string_view ColourOf(const std::string& state) {
  const auto* const words = std::ranges::find(kWords, state, &Words::state);
  return words == std::end(kWords) || !TakesColours() ? "" : words->colour;
}

std::string ClockText(int64_t seconds) {
  const time_t at = seconds;
  tm local{};
  char text[32] = "";
  if (localtime_r(&at, &local) != nullptr) strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
  return text;
}

void PrintProgress(const Json& replica) {
  if (const Json pending = replica.value("pending", Json::object());
      Number(pending, "objects") != 0) {
    PrintLine("    pending: {}", Counted(pending));
  }
  const auto rate = Number(replica, "rate_bytes");
  std::string text = rate == 0 ? "" : BytesText(rate) + " a second in the last minute";
  const std::string state = replica.value("state", "");
  const bool moves = state != "paused" && state != "blocked" && state != "connecting";
  if (const auto eta = replica.find("eta_seconds"); moves && eta != replica.end()) {
    text += ", about " + TimeText(eta->get<double>()) + " to go";
  }
  if (!text.empty()) PrintLine("    {}", text);
  if (const auto progress = replica.find("progress"); progress != replica.end()) {
    PrintLine("    so far {} objects, {} of content", Number(*progress, "objects"),
              BytesText(Number(*progress, "bytes")));
  }
}

void PrintReplica(const Json& replica) {
  const std::string state = replica.value("state", "");
  std::string words = StateText(state);
  if (const auto until = replica.find("paused_until"); until != replica.end()) {
    words += " until " + ClockText(until->get<int64_t>());
  }
  PrintColoured(ColourOf(state), "  replica " + replica.value("name", "") + ": ", words);
  PrintLine("    {}", replica.value("url", ""));
  PrintLine("    cut {} applied, lag {}, at most {} in the last hour; {} sent",
            Number(replica, "applied_cut"), TimeText(replica.value("lag_seconds", 0.0)),
            TimeText(replica.value("worst_lag_hour", 0.0)),
            BytesText(Number(replica, "sent_bytes")));
  PrintProgress(replica);
  if (const std::string limit = replica.value("bwlimit", ""); !limit.empty()) {
    PrintLine("    limited to {}", limit);
  }
  if (const Json content = replica.value("content", Json::object());
      Number(content, "delta") + Number(content, "copied") != 0) {
    PrintLine(
        "    content: {} sent as it is, {} as deltas, {} as copies of what is there; {} saved "
        "by compression",
        BytesText(Number(content, "plain")), BytesText(Number(content, "delta")),
        BytesText(Number(content, "copied")), BytesText(Number(content, "compressed")));
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

}  // namespace

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

}  // namespace tandem::tools
