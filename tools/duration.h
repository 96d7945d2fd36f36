// Lengths of time as people write them. Any thread.
#pragma once

#include <chrono>
#include <string_view>

#include "meta/base/result.h"

namespace tandem::tools {

// What is expected, for messages.
inline constexpr char kDurationsExpected[] =
    "a number with ms, s, m or h is expected (500ms, 30s, 5m; seconds if there is none), at most "
    "8760h";

// 0 is 0; everything else is at least a millisecond. kUsage names the text and what is expected.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);

}  // namespace tandem::tools
