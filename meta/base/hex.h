// Converts bytes to and from lower-case hexadecimal, two digits a byte. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tandem {

std::string ToHex(std::string_view bytes);
// Returns nullopt if ToHex could not have produced `hex`.
std::optional<std::string> FromHex(std::string_view hex);

}  // namespace tandem
