// Numbers on the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace tandem::programs {

// A decimal number with an optional suffix K, M, G or T (powers of 1024).
// Nothing if it is malformed or does not fit 63 bits.
std::optional<uint64_t> ParseNumber(std::string_view text);

}  // namespace tandem::programs
