// Formats paths and names for people: backslashes, and bytes that are not printable ASCII, become
// \xHH. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace tandem {

std::string Printable(std::string_view path);

}  // namespace tandem
