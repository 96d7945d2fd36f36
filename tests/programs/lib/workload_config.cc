#include "tests/programs/lib/workload_config.h"

#include <getopt.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "tests/programs/lib/arguments.h"
#include "tests/programs/lib/workload_ops.h"

namespace tandem::workload {
namespace {

constexpr char kUsage[] =
    "usage: workload --dir DIR [--seed N] [--seconds S] [--ops N] [OPTION...]\n"
    "Runs seeded random file operations below DIR. Exit: 0 all as expected,\n"
    "1 unexpected errors, 2 could not run, 3 the mount went away\n"
    "(only with --tolerate-disconnect).\n"
    "  --seed N               default: from the clock; printed at start\n"
    "  --seconds S, --ops N   end after S seconds or N ops a thread (default:\n"
    "                         10 seconds; --seconds 0: until SIGTERM)\n"
    "  --threads T            threads in each process (1)\n"
    "  --processes P          (1)\n"
    "  --max-file-bytes B     largest file size (16M)\n"
    "  --max-objects N        bound on the tree (2000)\n"
    "  --max-total-bytes B    bound on allocated bytes (1G)\n"
    "  --only OP,OP...        these kinds of operation only\n"
    "  --log FILE             append every operation and its result\n"
    "  --long-paths           also paths beyond PATH_MAX (cp and rsync fail there)\n"
    "  --tolerate-disconnect  the mount may be killed underneath\n"
    "  --tolerate-enospc      the disk may become full\n"
    "Operations:";

enum Option : int {
  kDir = 1,
  kSeed,
  kSeconds,
  kOps,
  kThreads,
  kProcesses,
  kMaxFileBytes,
  kMaxObjects,
  kMaxTotalBytes,
  kOnly,
  kLog,
  kLongPaths,
  kTolerateDisconnect,
  kTolerateNoSpace,
  kHelp,
};

constexpr option kOptions[] = {
    {"dir", required_argument, nullptr, kDir},
    {"seed", required_argument, nullptr, kSeed},
    {"seconds", required_argument, nullptr, kSeconds},
    {"ops", required_argument, nullptr, kOps},
    {"threads", required_argument, nullptr, kThreads},
    {"processes", required_argument, nullptr, kProcesses},
    {"max-file-bytes", required_argument, nullptr, kMaxFileBytes},
    {"max-objects", required_argument, nullptr, kMaxObjects},
    {"max-total-bytes", required_argument, nullptr, kMaxTotalBytes},
    {"only", required_argument, nullptr, kOnly},
    {"log", required_argument, nullptr, kLog},
    {"long-paths", no_argument, nullptr, kLongPaths},
    {"tolerate-disconnect", no_argument, nullptr, kTolerateDisconnect},
    {"tolerate-enospc", no_argument, nullptr, kTolerateNoSpace},
    {"help", no_argument, nullptr, kHelp},
    {nullptr, 0, nullptr, 0},
};

void PrintUsage() {
  std::fputs(kUsage, stderr);
  for (const Op& op : AllOps()) std::fprintf(stderr, " %s", op.name);
  std::fputc('\n', stderr);
}

std::vector<std::string> SplitAtCommas(const char* text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    parts.push_back(part);
  }
  return parts;
}

// Whether `value` was a number within bounds; stores it.
template <typename T>
bool Store(const char* value, uint64_t low, uint64_t high, T* out) {
  const std::optional<uint64_t> number = programs::ParseNumber(value);
  if (!number || *number < low || *number > high) return false;
  *out = static_cast<T>(*number);
  return true;
}

// --seed takes all 64 bits, which the other numbers do not need.
bool StoreSeed(const char* value, uint64_t* out) {
  char* end = nullptr;
  errno = 0;
  *out = std::strtoull(value, &end, 0);
  return errno == 0 && *value >= '0' && *value <= '9' && *end == '\0';
}

bool Apply(int option, const char* value, Config* config) {
  constexpr uint64_t kAny = INT64_MAX;
  constexpr uint64_t kMaxWorkers = 1024;
  switch (option) {
    case kDir:
      config->directory = value;
      return true;
    case kSeed:
      return StoreSeed(value, &config->seed);
    case kSeconds:
      return Store(value, 0, kAny, &config->seconds);
    case kOps:
      return Store(value, 1, kAny, &config->ops_per_thread);
    case kThreads:
      return Store(value, 1, kMaxWorkers, &config->threads);
    case kProcesses:
      return Store(value, 1, kMaxWorkers, &config->processes);
    case kMaxFileBytes:
      return Store(value, 64 << 10, kAny, &config->max_file_bytes);
    case kMaxObjects:
      return Store(value, 1, kAny, &config->max_objects);
    case kMaxTotalBytes:
      return Store(value, 1, kAny, &config->max_total_bytes);
    case kOnly:
      config->only = SplitAtCommas(value);
      return true;
    case kLog:
      config->log = value;
      return true;
    case kLongPaths:
      return config->long_paths = true;
    case kTolerateDisconnect:
      return config->tolerate_disconnect = true;
    case kTolerateNoSpace:
      return config->tolerate_no_space = true;
    default:
      return false;
  }
}

bool KnownOps(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    bool known = false;
    for (const Op& op : AllOps()) known |= name == op.name;
    if (known) continue;
    std::fprintf(stderr, "workload: no operation is called %s\n", name.c_str());
    return false;
  }
  return true;
}

}  // namespace

std::optional<Config> ParseConfig(int argc, char** argv) {
  Config config;
  config.seed = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  config.root = geteuid() == 0;

  int index = 0;
  for (int option; (option = getopt_long(argc, argv, "", kOptions, &index)) != -1;) {
    if (option == kHelp || option == '?') return PrintUsage(), std::nullopt;
    if (!Apply(option, optarg, &config)) {
      std::fprintf(stderr, "workload: --%s cannot be %s\n", kOptions[index].name,
                   optarg ? optarg : "");
      return std::nullopt;
    }
  }
  if (optind != argc || config.directory.empty()) {
    PrintUsage();
    return std::nullopt;
  }
  if (!KnownOps(config.only)) return std::nullopt;

  if (!config.seconds && !config.ops_per_thread) config.seconds = 10;
  if (config.seconds == uint64_t{0}) config.seconds.reset();
  return config;
}

}  // namespace tandem::workload
