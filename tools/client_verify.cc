// tandem verify: starts a verify in tandemfs, shows its progress, prints the differences.
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "meta/base/hex.h"
#include "meta/base/log.h"
#include "tools/client_commands.h"
#include "tools/control.h"
#include "tools/mount_survey.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr int kAnswerMs = 30'000;
constexpr size_t kDifferencesAtATime = 1000;

// fsck's exit codes.
constexpr int kIdentical = 0;
constexpr int kRepaired = 1;
constexpr int kDifferencesLeft = 4;
constexpr int kCouldNotRun = 8;

struct Outcome {
  Json differences = Json::array();
  Json last;  // the final poll
  size_t left = 0;
  size_t repaired = 0;
};

// Resolves symlinks in the parent of `path`, not in its last component.
std::filesystem::path Canonical(const std::filesystem::path& path) {
  const auto lexical = path.lexically_normal();
  const auto trimmed = lexical.has_filename() ? lexical : lexical.parent_path();
  std::error_code error;
  const auto parent = std::filesystem::canonical(trimmed.parent_path(), error);
  return error ? trimmed : parent / trimmed.filename();
}

// Converts what the user typed, absolute or relative to the mountpoint, to paths below the volume's
// root, in hexadecimal (JSON is UTF-8, names are any bytes).
Result<std::vector<std::string>> PathsBelow(const std::string& mountpoint,
                                            const std::vector<std::string>& paths) {
  std::vector<std::string> below;
  for (const std::string& path : paths) {
    std::string relative = path;
    if (path.starts_with('/')) relative = Canonical(path).lexically_relative(mountpoint).string();
    relative = std::filesystem::path(relative).lexically_normal().string();
    if (relative == ".." || relative.starts_with("../")) {
      return MakeError(ErrorKind::kUsage,
                       "verify " + path + ": it is not below the mountpoint " + mountpoint);
    }
    below.push_back(ToHex(relative));
  }
  return below;
}

void ShowProgress(const Json& poll) {
  if (isatty(STDERR_FILENO) == 0) return;
  fprintf(stderr, "\rverified %" PRIu64 " objects, %" PRIu64 " MiB of content ",
          poll.value("objects", uint64_t{0}), poll.value("bytes", uint64_t{0}) >> 20);
}

Result<Outcome> Await(const std::string& socket, int64_t job) {
  Outcome outcome;
  const timespec pause{0, 50'000'000};
  while (true) {
    ASSIGN_OR_RETURN(outcome.last,
                     AskControl(socket, {{"op", "verify-poll"}, {"job", job}}, kAnswerMs));
    if (outcome.last.value("finished", false)) break;
    ShowProgress(outcome.last);
    nanosleep(&pause, nullptr);
  }
  if (isatty(STDERR_FILENO) != 0) fprintf(stderr, "\r\033[K");
  while (true) {
    const Json request = {{"op", "verify-poll"},
                          {"job", job},
                          {"skip", outcome.differences.size()},
                          {"limit", kDifferencesAtATime}};
    ASSIGN_OR_RETURN(const Json poll, AskControl(socket, request, kAnswerMs));
    const Json part = poll.value("differences", Json::array());
    if (part.empty()) break;
    for (const Json& difference : part) {
      ++(difference.value("repaired", false) ? outcome.repaired : outcome.left);
      outcome.differences.push_back(difference);
    }
  }
  ASSIGN_OR_RETURN(const Json stopped,
                   AskControl(socket, {{"op", "verify-stop"}, {"job", job}}, kAnswerMs));
  (void)stopped;
  return outcome;
}

int ExitCodeOf(const Outcome& outcome) {
  if (!outcome.last.value("failure", "").empty()) return kCouldNotRun;
  if (outcome.left != 0) return kDifferencesLeft;
  if (!outcome.last.value("unjudged", Json::array()).empty()) return kCouldNotRun;
  return outcome.repaired != 0 ? kRepaired : kIdentical;
}

void Print(const std::string& replica, const Outcome& outcome) {
  for (const Json& difference : outcome.differences) {
    PrintLine("{}: {}: {}{}", difference.value("kind", ""), difference.value("path", ""),
              difference.value("what", ""),
              difference.value("repaired", false) ? " (repaired)" : "");
  }
  for (const Json& path : outcome.last.value("unjudged", Json::array())) {
    PrintLine(
        "unjudged: {}: it changed during each comparison; try again, or stop the program that "
        "writes it",
        path.get<std::string>());
  }
  const std::string failure = outcome.last.value("failure", "");
  if (!failure.empty()) Complain("tandem", "verify " + replica + ": " + failure);
  const char* verdict = "could not run to the end";
  if (const int code = ExitCodeOf(outcome); code == kIdentical) {
    verdict = "identical";
  } else if (code == kRepaired) {
    verdict = "repaired";
  } else if (code == kDifferencesLeft) {
    verdict = "different";
  }
  PrintLine("replica {}: {} ({} objects, {} bytes of content compared)", replica, verdict,
            outcome.last.value("objects", uint64_t{0}), outcome.last.value("bytes", uint64_t{0}));
}

}  // namespace

Result<int> RunVerify(const VerifyOptions& options) {
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(options.mountpoint));
  ASSIGN_OR_RETURN(const Json status, AskControl(socket, {{"op", "status"}}, kAnswerMs));
  ASSIGN_OR_RETURN(const auto paths, PathsBelow(status.value("mountpoint", ""), options.paths));
  RETURN_IF_ERROR(FlushMount(socket, std::chrono::steady_clock::time_point::max()));
  Json request = {{"op", "verify"},       {"paths", paths},
                  {"full", options.full}, {"repair", options.repair},
                  {"hash", options.hash}, {"block_size", options.block_size}};
  if (!options.replica.empty()) request["replica"] = options.replica;
  ASSIGN_OR_RETURN(const Json started, AskControl(socket, request, kAnswerMs));

  int exit_code = kIdentical;
  Json report = Json::array();
  const Json jobs = started.value("jobs", Json::array());
  if (jobs.empty())
    return MakeError(ErrorKind::kRefused, "verify " + options.mountpoint +
                                              ": it has no replica (mount it with --replica)");
  for (const Json& job : jobs) {
    const std::string replica = job.value("replica", "");
    ASSIGN_OR_RETURN(const Outcome outcome, Await(socket, job.value("job", int64_t{0})));
    exit_code = std::max(exit_code, ExitCodeOf(outcome));
    if (options.json) {
      Json one = outcome.last;
      one["replica"] = replica;
      one["differences"] = outcome.differences;
      report.push_back(std::move(one));
    } else {
      Print(replica, outcome);
    }
  }
  if (options.json) PrintJson(report);
  return exit_code;
}

}  // namespace tandem::tools
