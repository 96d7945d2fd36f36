#include "tools/duration.h"

#include <charconv>
#include <cmath>
#include <string>

namespace tandem::tools {
namespace {

constexpr double kMostMs = 8760.0 * 3600 * 1000;

// Returns the unit in milliseconds, or 0 if it is unknown.
double LengthOf(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit.empty() || unit == "s") return 1000;
  if (unit == "m") return 60 * 1000;
  if (unit == "h") return 3600 * 1000;
  if (unit == "d") return 24 * 3600 * 1000;
  return 0;
}

}  // namespace

Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  const double unit = LengthOf(std::string_view(rest, static_cast<size_t>(end - rest)));
  const double length = std::ceil(number * unit);
  const bool is_sane = error == std::errc() && unit != 0 && std::isfinite(number) &&
                       !std::signbit(number) && length <= kMostMs;
  if (is_sane) return std::chrono::milliseconds(static_cast<int64_t>(length));
  return MakeError(ErrorKind::kUsage,
                   "\"" + std::string(text) + "\" is not a length of time: " + kDurationsExpected);
}

}  // namespace tandem::tools
