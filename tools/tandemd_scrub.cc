#include "tools/tandemd_scrub.h"

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/log.h"
#include "meta/base/private_files.h"
#include "replica/store/scrub_jobs.h"
#include "replica/store/store.h"
#include "tools/byte_size.h"
#include "tools/control.h"
#include "tools/least_privilege.h"
#include "tools/print.h"
#include "tools/process_limits.h"
#include "tools/scrub_service.h"

namespace tandem::tools {
namespace {

constexpr char kProgram[] = "tandemd";
constexpr std::chrono::milliseconds kFirstAnswer{2'000};
constexpr std::chrono::milliseconds kAnswer{60'000};
constexpr size_t kDifferencesAtATime = 1000;

// fsck's exit codes.
constexpr int kIdentical = 0;
constexpr int kDamaged = 4;
constexpr int kCouldNotRun = 8;
constexpr int kUsage = 16;

struct Settings {
  std::string path;  // as given
  std::string rate;
  bool unknown = false;
  bool json = false;
};

// STORE, and the volume's name below it; empty: all volumes.
struct Target {
  std::string store;
  std::string volume;
};

using Ask = std::function<Result<Json>(const Json&)>;

volatile sig_atomic_t interrupted = 0;
void Interrupt(int) { interrupted = 1; }

// A directory of the name may be a volume.
bool IsFile(const std::string& path) {
  struct stat found;
  return stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

// The marker files tell what a directory of a store is (replica/store/store_layout.h).
Result<Target> FindTarget(const std::string& given) {
  const std::string path = AbsolutePath(given);
  const auto parent = [](const std::string& of) { return of.substr(0, of.rfind('/')); };
  const auto name = [](const std::string& of) { return of.substr(of.rfind('/') + 1); };
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0 && errno != ENOENT && errno != ENOTDIR) {
    return ErrnoError("open " + path);
  }
  if (!S_ISDIR(found.st_mode)) {
    return MakeError(ErrorKind::kUsage,
                     "scrub " + given +
                         " (there is no such directory: give STORE, STORE/VOLUME or "
                         "STORE/ACCOUNT/VOLUME)",
                     ENOENT);
  }
  if (IsFile(path + "/volume")) {
    const std::string above = parent(path);
    if (IsFile(above + "/account")) return Target{parent(above), name(above) + "/" + name(path)};
    return Target{above, name(path)};
  }
  if (IsFile(path + "/.lock") && !IsFile(path + "/account")) return Target{path, ""};
  return MakeError(ErrorKind::kUsage,
                   "scrub " + given +
                       " (it is neither a store nor a volume of one: give STORE, "
                       "STORE/VOLUME or STORE/ACCOUNT/VOLUME)",
                   EINVAL);
}

// ---- One volume --------------------------------------------------------------------------------

void ShowProgress(const std::string& volume, const Json& poll) {
  if (isatty(STDERR_FILENO) == 0) return;
  fprintf(stderr, "\r%s: %" PRIu64 " objects, %" PRIu64 " MiB of content ", volume.c_str(),
          poll.value("objects", uint64_t{0}), poll.value("bytes", uint64_t{0}) >> 20);
}

// Returns the report, with all differences in it.
Result<Json> Scrub(const Ask& ask, const std::string& volume, uint64_t rate, bool unknown) {
  ASSIGN_OR_RETURN(
      const Json started,
      ask({{"op", "scrub"}, {"volume", volume}, {"rate", rate}, {"unknown", unknown}}));
  const int64_t job = started.value("job", int64_t{0});
  Json last;
  while (true) {
    ASSIGN_OR_RETURN(last, ask({{"op", "scrub-poll"}, {"job", job}}));
    if (last.value("finished", false) || interrupted != 0) break;
    ShowProgress(volume, last);
    const timespec pause{0, 50'000'000};
    nanosleep(&pause, nullptr);
  }
  if (isatty(STDERR_FILENO) != 0) fprintf(stderr, "\r\033[K");
  Json differences = Json::array();
  while (true) {
    ASSIGN_OR_RETURN(const Json poll, ask({{"op", "scrub-poll"},
                                           {"job", job},
                                           {"skip", differences.size()},
                                           {"limit", kDifferencesAtATime}}));
    const Json part = poll.value("differences", Json::array());
    if (part.empty()) break;
    for (const Json& difference : part) differences.push_back(difference);
  }
  ASSIGN_OR_RETURN(const Json stopped, ask({{"op", "scrub-stop"}, {"job", job}}));
  (void)stopped;
  if (interrupted != 0 && !last.value("finished", false)) last["failure"] = "interrupted";
  last["volume"] = volume;
  last["differences"] = std::move(differences);
  return last;
}

int ExitCodeOf(const Json& report) {
  if (!report.value("failure", "").empty()) return kCouldNotRun;
  return report.value("difference_count", uint64_t{0}) != 0 ? kDamaged : kIdentical;
}

void Print(const Json& report) {
  const std::string volume = report.value("volume", "");
  for (const Json& difference : report["differences"]) {
    PrintLine("{}: {}: {}", difference.value("kind", ""), difference.value("path", ""),
              difference.value("what", ""));
  }
  const uint64_t count = report.value("difference_count", uint64_t{0});
  const size_t shown = report["differences"].size();
  if (count > shown) PrintLine("and {} more", count - shown);
  const std::string failure = report.value("failure", "");
  if (!failure.empty()) Complain(kProgram, "volume " + volume + ": " + failure);
  const int code = ExitCodeOf(report);
  const uint64_t unknown = report.value("unknown_bytes", uint64_t{0});
  const char* verdict = "could not run to the end";
  if (code == kDamaged) verdict = "damaged";
  if (code == kIdentical) verdict = unknown == 0 ? "as applied" : "no damage found";
  PrintLine("volume {}: {} ({} objects, {} bytes of content)", volume, verdict,
            report.value("objects", uint64_t{0}), report.value("bytes", uint64_t{0}));
  if (unknown == 0) return;
  PrintLine(
      "volume {}: unknown: {} bytes of {} files have no digest to compare with (tandemd scrub "
      "--unknown has the source send them again)",
      volume, unknown, report.value("unknown_files", uint64_t{0}));
}

int ScrubVolumes(const Ask& ask, const std::vector<std::string>& volumes, uint64_t rate,
                 const Settings& settings) {
  int exit_code = kIdentical;
  Json all = Json::array();
  for (const std::string& volume : volumes) {
    auto report = Scrub(ask, volume, rate, settings.unknown);
    if (!report) {
      report = Json{{"volume", volume},
                    {"differences", Json::array()},
                    {"failure", report.error().ToString()}};
    }
    exit_code = std::max(exit_code, ExitCodeOf(*report));
    if (settings.json) {
      all.push_back(std::move(*report));
    } else {
      Print(*report);
    }
    if (interrupted != 0) break;
  }
  if (settings.json) PrintJson(all);
  return exit_code;
}

Result<int> ScrubTarget(const Ask& ask, const Target& target, uint64_t rate,
                        const Settings& settings) {
  std::vector<std::string> volumes = {target.volume};
  if (target.volume.empty()) {
    ASSIGN_OR_RETURN(const Json answer, ask({{"op", "volumes"}}));
    volumes = answer.value("volumes", std::vector<std::string>());
  }
  return ScrubVolumes(ask, volumes, rate, settings);
}

// ---- Without a daemon --------------------------------------------------------------------------

// What this process makes in the store has to be the daemon's.
Status BecomeOwnerOf(const struct stat& store) {
  if (geteuid() != 0 || store.st_uid == 0) return ReduceToReplica({true, false});
  const passwd* const owner = getpwuid(store.st_uid);
  if (owner != nullptr) return BecomeUser(owner->pw_name);
  return MakeError(ErrorKind::kUsage,
                   "run as the owner of the store (user " + std::to_string(store.st_uid) +
                       " has no name here: run tandemd scrub as that user)",
                   ENOENT);
}

Result<int> ScrubAlone(const Target& target, uint64_t rate, const Settings& settings) {
  struct stat found;
  if (stat(target.store.c_str(), &found) != 0) return ErrnoError("stat " + target.store);
  RaiseOpenFiles();
  LimitHeaps();
  signal(SIGXFSZ, SIG_IGN);
  umask(0);
  RETURN_IF_ERROR(BecomeOwnerOf(found));
  // As the daemon left it (--store-mode).
  const mode_t mode = (found.st_mode & 0777) | kPrivateDirectory;
  ASSIGN_OR_RETURN(const auto store, replica::Store::Open(target.store, mode & 0755));
  std::optional<replica::ScrubJobs> jobs(*store);
  ScrubService service(*store, *jobs);
  auto code = ScrubTarget([&](const Json& request) { return service.Answer(request); }, target,
                          rate, settings);
  jobs.reset();
  store->Stop();
  return code;
}

Result<int> Run(const Settings& settings) {
  uint64_t rate = 0;
  if (!settings.rate.empty()) {
    ASSIGN_OR_RETURN(rate, ParseByteSize("--rate", settings.rate));
  }
  ASSIGN_OR_RETURN(const Target target, FindTarget(settings.path));
  struct sigaction action = {};
  action.sa_handler = Interrupt;
  for (const int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
  if (AskStore(target.store, {{"op", "volumes"}}, kFirstAnswer)) {
    const auto ask = [&](const Json& request) { return AskStore(target.store, request, kAnswer); };
    return ScrubTarget(ask, target, rate, settings);
  }
  return ScrubAlone(target, rate, settings);
}

}  // namespace

int RunScrub(int argc, char** argv) {
  Settings settings;
  CLI::App app(
      "Compares replicas with what was applied to them, without their sources: finds what "
      "the\ndisk or another program has damaged.",
      "tandemd scrub");
  app.add_option("STORE[/VOLUME]", settings.path,
                 "A store, or one volume of it (STORE/ACCOUNT/VOLUME for accounts)")
      ->required();
  app.add_option("--rate", settings.rate, "Read at most this many bytes a second, as in 20M")
      ->type_name("BYTES");
  app.add_flag(
      "--unknown", settings.unknown,
      "Have the source send again what has no digest to compare with: content from before\n"
      "digests were kept, or that a crash interrupted");
  app.add_flag("--json", settings.json, "Print JSON, for programs");
  app.footer(
      "Works beside a running tandemd, and by itself if none runs. The source sends again what "
      "was\n"
      "found, when it is connected. Names that are not the replica's are only reported: tandem\n"
      "verify --repair removes them. Exit codes: 0 no damage found, 4 damage found,\n"
      "8 could not run, 16 usage.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return ExitAfterOutput(kProgram, app.exit(e), kCouldNotRun);
    Complain(kProgram, std::string(e.what()) + " (see tandemd scrub --help)");
    return kUsage;
  }
  // What is found is printed; the log would say it twice.
  setenv("TANDEM_LOG", "error", /*overwrite=*/0);
  SetUpLog(kProgram);
  const auto code = Run(settings);
  if (code) return ExitAfterOutput(kProgram, *code, kCouldNotRun);
  Complain(kProgram, code.error().ToString());
  return code.error().kind() == ErrorKind::kUsage && code.error().code() != EBUSY ? kUsage
                                                                                  : kCouldNotRun;
}

}  // namespace tandem::tools
