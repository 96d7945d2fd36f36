// Bytes as lower-case hexadecimal digits, two a byte. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tandem {

std::string ToHex(std::string_view bytes);
// Nothing: that is not what ToHex gives.
std::optional<std::string> FromHex(std::string_view hex);

}  // namespace tandem
