// compare_trees: whether two directory trees are the same, in all a copy
// should preserve. Not compared: ctime, inode and device numbers, sizes and
// link counts of directories, and, unless asked for, atime.
#include <getopt.h>

#include <cstdint>
#include <cstdio>
#include <optional>

#include "tests/programs/lib/arguments.h"
#include "tests/programs/lib/compare_walk.h"

namespace tandem::compare {
namespace {

constexpr char kUsage[] =
    "usage: compare_trees [OPTION...] A B\n"
    "Prints one line for each difference. Exit: 0 identical, 1 different,\n"
    "2 not everything could be compared.\n"
    "  --limit N       print no more than N differences; all are counted\n"
    "  --no-holes      do not compare allocated blocks\n"
    "  --ignore-mtime\n"
    "  --ignore-atime  (default)\n"
    "  --compare-atime\n";

struct Arguments {
  const char* a = nullptr;
  const char* b = nullptr;
  uint64_t limit = UINT64_MAX;
  Options options;
};

std::optional<Arguments> Parse(int argc, char** argv) {
  enum Option : int { kLimit = 1, kNoHoles, kNoMtime, kNoAtime, kAtime };
  constexpr option kOptions[] = {
      {"limit", required_argument, nullptr, kLimit},
      {"no-holes", no_argument, nullptr, kNoHoles},
      {"ignore-mtime", no_argument, nullptr, kNoMtime},
      {"ignore-atime", no_argument, nullptr, kNoAtime},
      {"compare-atime", no_argument, nullptr, kAtime},
      {nullptr, 0, nullptr, 0},
  };
  Arguments arguments;
  for (int option; (option = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (option) {
      case kLimit: {
        const auto limit = programs::ParseNumber(optarg);
        if (!limit) return std::nullopt;
        arguments.limit = *limit;
        break;
      }
      case kNoHoles:
        arguments.options.holes = false;
        break;
      case kNoMtime:
        arguments.options.mtime = false;
        break;
      case kNoAtime:
        arguments.options.atime = false;
        break;
      case kAtime:
        arguments.options.atime = true;
        break;
      default:
        return std::nullopt;
    }
  }
  if (argc - optind != 2) return std::nullopt;
  arguments.a = argv[optind];
  arguments.b = argv[optind + 1];
  return arguments;
}

int Main(int argc, char** argv) {
  const auto arguments = Parse(argc, argv);
  if (!arguments) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  Report report(arguments->limit);
  TreeComparison(arguments->a, arguments->b, arguments->options, &report).Run();
  return report.Conclude();
}

}  // namespace
}  // namespace tandem::compare

int main(int argc, char** argv) { return tandem::compare::Main(argc, argv); }
