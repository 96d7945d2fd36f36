#include "tools/byte_size.h"

#include <charconv>
#include <string_view>

namespace tandem::tools {

Result<uint64_t> ParseByteSize(const std::string& option, const std::string& text) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<size_t>(end - rest));
  constexpr std::string_view kUnits = "KMGT";
  const size_t power = unit.size() == 1 ? kUnits.find(unit.front()) : std::string_view::npos;
  const unsigned shift = unit.empty() ? 0 : 10 * (static_cast<unsigned>(power) + 1);
  const bool is_known = unit.empty() || power != std::string_view::npos;
  if (error == std::errc() && is_known && number <= UINT64_MAX >> shift) return number << shift;
  return MakeError(ErrorKind::kUsage,
                   option + " " + text +
                       ": a number of bytes is expected, or one with K, M, G or T (1024, 1024², "
                       "...); 0 is no limit",
                   EINVAL);
}

}  // namespace tandem::tools
