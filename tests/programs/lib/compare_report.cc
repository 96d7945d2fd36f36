#include "tests/programs/lib/compare_report.h"

#include <cinttypes>
#include <cstdio>

#include "tests/programs/lib/escape.h"

namespace tandem::compare {

void Report::Difference(std::string_view path, std::string_view what, std::string_view a,
                        std::string_view b) {
  if (++differences_ > limit_) return;
  std::printf("%s: %.*s: %.*s vs %.*s\n", programs::Escape(path).c_str(),
              static_cast<int>(what.size()), what.data(), static_cast<int>(a.size()), a.data(),
              static_cast<int>(b.size()), b.data());
}

void Report::Error(std::string_view side, std::string_view path, std::string_view call, int error) {
  ++errors_;
  std::fprintf(stderr, "compare_trees: %s: %s: cannot %s: %s\n", programs::Escape(side).c_str(),
               programs::Escape(path).c_str(), std::string(call).c_str(),
               programs::ErrnoName(error).c_str());
}

int Report::Conclude() const {
  constexpr int kIdentical = 0;
  constexpr int kDifferent = 1;
  constexpr int kFailed = 2;
  std::fflush(stdout);
  std::fprintf(stderr,
               "compare_trees: %" PRIu64 " objects, %" PRIu64 " differences, %" PRIu64 " errors\n",
               objects_, differences_, errors_);
  if (errors_ > 0) return kFailed;
  return differences_ > 0 ? kDifferent : kIdentical;
}

}  // namespace tandem::compare
