// tandem status: once, again and again (--watch), until something is so (--wait), or as a check for
// monitoring (--check).
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "meta/base/log.h"
#include "tools/client_commands.h"
#include "tools/control.h"
#include "tools/mount_survey.h"
#include "tools/print.h"
#include "tools/status/print_status.h"
#include "tools/status/store_status.h"

namespace tandem::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kAnswerMs = 5000;
constexpr std::chrono::milliseconds kRedrawEvery{1000};
constexpr std::chrono::milliseconds kWaitLooks{200};

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

// ---- --check: as Nagios, Icinga and the like expect
// ----------------------------------------------

enum CheckExit { kCheckOk = 0, kCheckWarning = 1, kCheckCritical = 2, kCheckUnknown = 3 };

struct Checked {
  int exit_code = kCheckOk;
  std::vector<std::string> findings;
  std::string data;  // for plots

  void Find(int code, std::string finding) {
    exit_code = std::max(exit_code, code);
    findings.push_back(std::move(finding));
  }
};

void CheckReplica(const std::string& mountpoint, const Json& replica, const StatusOptions& options,
                  Checked& checked) {
  const std::string name = replica.value("name", "");
  const std::string state = replica.value("state", "");
  const std::string what = mountpoint + " replica " + name;
  const double lag = replica.value("lag_seconds", 0.0);
  std::string label = what;
  std::ranges::replace_if(
      label, [](char c) { return c == '\'' || c == '='; }, '_');
  checked.data += " '" + label + " lag'=" + std::to_string(lag) + "s;" +
                  std::to_string(options.warn.count() / 1000) + ";" +
                  std::to_string(options.critical.count() / 1000);
  if (state == "blocked") {
    checked.Find(kCheckCritical, what + " is blocked: " + replica.value("error", ""));
  } else if (lag * 1000 > static_cast<double>(options.critical.count())) {
    checked.Find(kCheckCritical, what + " is " + TimeText(lag) + " behind (" + state + ")");
  } else if (lag * 1000 > static_cast<double>(options.warn.count())) {
    checked.Find(kCheckWarning, what + " is " + TimeText(lag) + " behind (" + state + ")");
  }
}

Checked CheckAll(const Statuses& statuses, const StatusOptions& options) {
  Checked checked;
  if (statuses.exit_code == kCouldNotAsk) checked.Find(kCheckUnknown, "could not ask every mount");
  if (statuses.of_mounts.empty()) checked.Find(kCheckUnknown, "nothing is mounted");
  for (const Json& status : statuses.of_mounts) {
    const std::string mountpoint = status.value("mountpoint", "");
    const std::string mount = status.value("mount", "");
    if (mount != "live") {
      checked.Find(kCheckCritical, mountpoint + " is " + mount);
      continue;
    }
    const Json replicas = status.value("replicas", Json::array());
    if (replicas.empty()) checked.Find(kCheckWarning, mountpoint + " has no replica");
    for (const Json& replica : replicas) CheckReplica(mountpoint, replica, options, checked);
  }
  return checked;
}

int PrintCheck(const Statuses& statuses, const StatusOptions& options) {
  const Checked checked = CheckAll(statuses, options);
  static constexpr const char* kNames[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
  std::string text;
  for (const std::string& finding : checked.findings) text += (text.empty() ? "" : "; ") + finding;
  if (text.empty())
    text = std::to_string(statuses.of_mounts.size()) + " mounts, all replicas in time";
  PrintLine("TANDEM {} - {} |{}", kNames[checked.exit_code], text, checked.data);
  return checked.exit_code;
}

// ---- --watch ------------------------------------------------------------------------------------

// Reads keys as they are pressed, while it lives, if stdin is a terminal.
class Keys {
 public:
  Keys() {
    if (isatty(STDIN_FILENO) == 0 || tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    is_raw_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~Keys() {
    if (is_raw_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  // Returns the key that was pressed within this time; 0: none.
  char Wait(std::chrono::milliseconds time) const {
    pollfd input{is_raw_ ? STDIN_FILENO : -1, POLLIN, 0};
    char key = 0;
    if (poll(&input, 1, static_cast<int>(time.count())) <= 0) return 0;
    return read(STDIN_FILENO, &key, 1) == 1 ? key : 'q';
  }
  bool are_read() const { return is_raw_; }

 private:
  termios before_{};
  bool is_raw_ = false;
};

// Pauses all replicas of all mounts shown, or resumes them if one is paused.
void TogglePause(const Statuses& statuses) {
  bool paused = false;
  for (const Json& status : statuses.of_mounts) {
    for (const Json& replica : status.value("replicas", Json::array())) {
      paused |= replica.value("state", "") == "paused";
    }
  }
  for (const Json& status : statuses.of_mounts) {
    const auto done =
        RunPause({.mountpoint = status.value("mountpoint", ""), .replica = {}}, !paused);
    if (!done) Complain("tandem", done.error().ToString());
  }
}

void PrintAll(const Statuses& statuses, const StatusOptions& options) {
  if (!options.json) {
    if (statuses.of_mounts.empty()) PrintLine("nothing is mounted");
    for (const Json& status : statuses.of_mounts) PrintStatus(status);
  } else if (!options.mountpoint.empty()) {
    PrintJson(statuses.of_mounts.front());
  } else {
    PrintJson(Json(statuses.of_mounts));
  }
}

Result<int> Watch(const StatusOptions& options) {
  const bool redraws = !options.json && isatty(STDOUT_FILENO) != 0;
  const Keys keys;
  while (true) {
    ASSIGN_OR_RETURN(const Statuses statuses, StatusesOf(options.mountpoint));
    if (redraws) printf("\033[H\033[2J");
    PrintAll(statuses, options);
    if (redraws && keys.are_read()) PrintLine("q: quit, p: pause or resume");
    RETURN_IF_ERROR(FlushOutput());
    const char key = keys.Wait(kRedrawEvery);
    if (key == 'q') return statuses.exit_code;
    if (key == 'p') TogglePause(statuses);
  }
}

// ---- --wait -------------------------------------------------------------------------------------

bool IsReached(const Json& replica, const std::string& state) {
  const std::string now = replica.value("state", "");
  if (state == "current") return now == "current";
  // Seeded: it has had a whole copy.
  return replica.value("applied_cut", uint64_t{0}) != 0 && now != "seeding";
}

Result<int> Wait(const StatusOptions& options) {
  const bool limited = options.timeout.count() > 0;
  const auto deadline = Clock::now() + options.timeout;
  while (true) {
    ASSIGN_OR_RETURN(const Statuses statuses, StatusesOf(options.mountpoint));
    std::string missing;
    for (const Json& status : statuses.of_mounts) {
      const Json replicas = status.value("replicas", Json::array());
      if (replicas.empty()) missing = status.value("mountpoint", "") + " has no replica";
      for (const Json& replica : replicas) {
        if (IsReached(replica, options.wait)) continue;
        missing = "replica " + replica.value("name", "") + " of " + status.value("mountpoint", "") +
                  " is " + replica.value("state", "");
      }
    }
    if (statuses.of_mounts.empty()) missing = "nothing is mounted";
    if (missing.empty()) return kAllIsWell;
    if (limited && Clock::now() >= deadline) {
      return MakeError(ErrorKind::kUnreachable, "not " + options.wait + " in time: " + missing);
    }
    poll(nullptr, 0, static_cast<int>(kWaitLooks.count()));
  }
}

}  // namespace

Result<int> RunStatus(const StatusOptions& options) {
  if (!options.store.empty()) return PrintStoreStatus(options.store, options.json);
  if (!options.wait.empty()) return Wait(options);
  if (options.watch) return Watch(options);
  const auto statuses = StatusesOf(options.mountpoint);
  if (options.check) {
    if (statuses) return PrintCheck(*statuses, options);
    PrintLine("TANDEM UNKNOWN - {} |", statuses.error().ToString());
    return kCheckUnknown;
  }
  if (!statuses) return tl::unexpected<Error>(statuses.error());
  PrintAll(*statuses, options);
  RETURN_IF_ERROR(FlushOutput());
  return statuses->exit_code;
}

}  // namespace tandem::tools
