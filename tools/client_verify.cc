// tandem verify: starts a verify in tandemfs, shows its progress, prints the differences.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <thread>

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
constexpr int kPollMs = 100;

// fsck's exit codes.
constexpr int kIdentical = 0;
constexpr int kRepaired = 1;
constexpr int kDifferencesLeft = 4;
constexpr int kCouldNotRun = 8;

struct Outcome {
  Json last = Json::object();  // the final poll
  size_t left = 0;
  size_t repaired = 0;
};

volatile sig_atomic_t interrupted = 0;

// Ctrl-C ends the verify on both sides, not only this program.
void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

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

// Prints differences as they are found, as text or as JSON lines.
class Printer {
 public:
  Printer(const VerifyOptions& options, std::string replica)
      : options_(options), replica_(std::move(replica)) {}

  void Print(const Json& difference) {
    if (options_.json) {
      Json line = difference;
      line["replica"] = replica_;
      PrintJson(line);
    } else {
      PrintLine("{}: {}: {}{}", difference.value("kind", ""), difference.value("path", ""),
                difference.value("what", ""),
                difference.value("repaired", false) ? " (repaired)" : "");
    }
    fflush(stdout);
  }

  // In the end.
  void PrintSummary(const Outcome& outcome, int exit_code) {
    const char* verdict = "could not run to the end";
    if (exit_code == kIdentical) verdict = "identical";
    if (exit_code == kRepaired) verdict = "repaired";
    if (exit_code == kDifferencesLeft) verdict = "different";
    const std::string failure = outcome.last.value("failure", "");
    if (options_.json) {
      Json line = outcome.last;
      line.erase("difference_count");
      line["replica"] = replica_;
      line["verdict"] = verdict;
      line["differences"] = outcome.left;
      line["repaired"] = outcome.repaired;
      PrintJson(line);
      return;
    }
    for (const Json& path : outcome.last.value("unjudged", Json::array())) {
      PrintLine(
          "unjudged: {}: it changed during each comparison; try again, or stop the program that "
          "writes it",
          path.get<std::string>());
    }
    if (const auto more = outcome.last.value("more_differences", size_t{0}); more != 0) {
      PrintLine("and {} more, too many to keep{}", more,
                options_.repair ? ": their repair was not confirmed; verify once more" : "");
    }
    if (!failure.empty()) Complain("tandem", "verify " + replica_ + ": " + failure);
    PrintLine("replica {}: {} ({} objects, {} bytes of content compared{})", replica_, verdict,
              outcome.last.value("objects", uint64_t{0}), outcome.last.value("bytes", uint64_t{0}),
              outcome.last.value("full", true) ? "" : "; --full compares all");
  }

 private:
  const VerifyOptions& options_;
  const std::string replica_;
};

// Shows on a terminal how far a verify has come.
class Progress {
 public:
  void Show(const Json& poll) {
    if (!on_terminal_) return;
    using std::chrono::duration;
    const uint64_t objects = poll.value("objects", uint64_t{0});
    const uint64_t bytes = poll.value("bytes", uint64_t{0});
    const double seconds = duration<double>(Clock::now() - begun_).count();
    if (!has_first_) {
      // A verify that is gone on with has compared some already.
      first_objects_ = objects;
      first_bytes_ = bytes;
      has_first_ = true;
    }
    if (seconds < 1) return;
    const auto rate = static_cast<double>(bytes - first_bytes_) / seconds / kMiB;
    fprintf(stderr, "\r%" PRIu64 " objects, %" PRIu64 " MiB, %.0f MiB/s%s \033[K", objects,
            bytes >> 20, rate, Remaining(poll, objects, bytes, seconds).c_str());
    shown_ = true;
  }
  void Clear() {
    if (shown_) fprintf(stderr, "\r\033[K");
    shown_ = false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr double kMiB = 1 << 20;
  // Opening an object takes about as long as reading so much.
  static constexpr double kBytesOfAnObject = 64 << 10;

  static double Work(uint64_t objects, uint64_t bytes) {
    return static_cast<double>(objects) * kBytesOfAnObject + static_cast<double>(bytes);
  }
  std::string Remaining(const Json& poll, uint64_t objects, uint64_t bytes, double seconds) const {
    const double total =
        Work(poll.value("total_objects", uint64_t{0}), poll.value("total_bytes", uint64_t{0}));
    const double now = Work(objects, bytes);
    const double done = now - Work(first_objects_, first_bytes_);
    if (total <= now || done <= 0) return "";
    const auto left = static_cast<long>((total - now) / done * seconds);
    char text[64];
    snprintf(text, sizeof text, ", %.0f %%, about %ld:%02ld left", 100 * now / total, left / 60,
             left % 60);
    return text;
  }

  const bool on_terminal_ = isatty(STDERR_FILENO) != 0;
  const Clock::time_point begun_ = Clock::now();
  bool has_first_ = false;
  uint64_t first_objects_ = 0;
  uint64_t first_bytes_ = 0;
  bool shown_ = false;
};

// Prints the differences of a job, and returns what it found. Only its end says of a repair whether
// it worked.
Result<Outcome> Await(const std::string& socket, const std::vector<int64_t>& jobs, size_t which,
                      bool repairs, Printer& printer) {
  const int64_t job = jobs[which];
  Outcome outcome;
  Progress progress;
  size_t seen = 0;
  while (true) {
    if (interrupted != 0) {
      progress.Clear();
      Status all;
      for (size_t i = which; i < jobs.size(); ++i) {
        const auto stopped =
            AskControl(socket, {{"op", "verify-stop"}, {"job", jobs[i]}}, kAnswerMs);
        if (!stopped && all) all = tl::unexpected<Error>(stopped.error());
      }
      RETURN_IF_ERROR(all);
      return MakeError(ErrorKind::kCancelled, "verify: interrupted (--resume goes on from here)");
    }
    const bool prints = !repairs || outcome.last.value("finished", false);
    const Json request = {{"op", "verify-poll"},
                          {"job", job},
                          {"jobs", jobs},
                          {"skip", seen},
                          {"limit", prints ? kDifferencesAtATime : 0},
                          {"wait_ms", outcome.last.empty() ? 0 : kPollMs}};
    ASSIGN_OR_RETURN(outcome.last, AskControl(socket, request, kAnswerMs));
    const Json found = outcome.last.value("differences", Json::array());
    if (!found.empty()) progress.Clear();
    for (const Json& difference : found) {
      ++(difference.value("repaired", false) ? outcome.repaired : outcome.left);
      printer.Print(difference);
    }
    seen += found.size();
    if (outcome.last.value("finished", false)) {
      if (seen >= outcome.last.value("difference_count", size_t{0})) break;
      continue;
    }
    if (!found.empty()) continue;
    progress.Show(outcome.last);
    // A tandemfs of an older version has answered at once.
    if (!outcome.last.contains("full"))
      std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
  progress.Clear();
  ASSIGN_OR_RETURN(const Json stopped,
                   AskControl(socket, {{"op", "verify-stop"}, {"job", job}}, kAnswerMs));
  (void)stopped;
  outcome.last.erase("differences");
  outcome.left += outcome.last.value("more_differences", size_t{0});
  return outcome;
}

int ExitCodeOf(const Outcome& outcome) {
  if (!outcome.last.value("failure", "").empty()) return kCouldNotRun;
  if (outcome.left != 0) return kDifferencesLeft;
  if (!outcome.last.value("unjudged", Json::array()).empty()) return kCouldNotRun;
  return outcome.repaired != 0 ? kRepaired : kIdentical;
}

}  // namespace

Result<int> RunVerify(const VerifyOptions& options) {
  ASSIGN_OR_RETURN(const std::string socket, FindServedSocket(options.mountpoint));
  ASSIGN_OR_RETURN(const Json status, AskControl(socket, {{"op", "status"}}, kAnswerMs));
  ASSIGN_OR_RETURN(const auto paths, PathsBelow(status.value("mountpoint", ""), options.paths));
  RETURN_IF_ERROR(FlushMount(socket, std::chrono::steady_clock::time_point::max()));
  Json request = {{"op", "verify"},
                  {"paths", paths},
                  {"full", options.full},
                  {"drop_caches", options.drop_caches},
                  {"repair", options.repair},
                  {"hash", options.hash},
                  {"block_size", options.block_size},
                  {"allocation", options.allocation},
                  {"resume", options.resume},
                  {"rate", options.rate},
                  {"file_rate", options.file_rate}};
  if (!options.replica.empty()) request["replica"] = options.replica;
  CatchInterrupts();
  ASSIGN_OR_RETURN(const Json started, AskControl(socket, request, kAnswerMs));

  int exit_code = kIdentical;
  const Json jobs = started.value("jobs", Json::array());
  if (jobs.empty()) {
    return MakeError(ErrorKind::kRefused, "verify " + options.mountpoint +
                                              ": it has no replica (mount it with --replica)");
  }
  std::vector<int64_t> ids;
  for (const Json& job : jobs) ids.push_back(job.value("job", int64_t{0}));
  for (size_t i = 0; i < ids.size(); ++i) {
    Printer printer(options, jobs[i].value("replica", ""));
    ASSIGN_OR_RETURN(const Outcome outcome, Await(socket, ids, i, options.repair, printer));
    const int code = ExitCodeOf(outcome);
    printer.PrintSummary(outcome, code);
    exit_code = std::max(exit_code, code);
  }
  return exit_code;
}

}  // namespace tandem::tools
