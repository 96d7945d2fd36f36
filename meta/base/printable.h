// How paths and names are shown to people: bytes that are not printable become \xHH.
#pragma once

#include <string>
#include <string_view>

namespace tandem {

std::string Printable(std::string_view path);

}  // namespace tandem
