#include "tests/programs/lib/arguments.h"

#include <charconv>
#include <limits>

namespace tandem::programs {

std::optional<uint64_t> ParseNumber(std::string_view text) {
  static constexpr std::string_view kSuffixes = "KMGT";
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop == text.data()) return std::nullopt;

  unsigned shift = 0;
  if (stop != end) {
    const size_t suffix = kSuffixes.find(*stop);
    if (suffix == std::string_view::npos || stop + 1 != end) {
      return std::nullopt;
    }
    shift = 10 * (static_cast<unsigned>(suffix) + 1);
  }
  const uint64_t largest = std::numeric_limits<int64_t>::max();
  if (value > largest >> shift) return std::nullopt;
  return value << shift;
}

}  // namespace tandem::programs
