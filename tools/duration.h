// Parses lengths of time. Any thread.
#pragma once

#include <chrono>
#include <string_view>

#include "meta/base/result.h"

namespace tandem::tools {

// The accepted syntax, for messages.
inline constexpr char kDurationsExpected[] =
    "a number with ms, s, m, h or d is expected (500ms, 30s, 5m; seconds if there is none), at "
    "most "
    "8760h";

// Rounds up to milliseconds, so that only 0 gives 0. Fails with kUsage, with the text and the
// accepted syntax.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);

}  // namespace tandem::tools
