// Parses numbers of bytes. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

// Parses a number of bytes, or one with K, M, G or T (powers of 1024). Fails with kUsage; `option`
// is what the message names, such as "--rate".
Result<uint64_t> ParseByteSize(const std::string& option, const std::string& text);

}  // namespace tandem::tools
