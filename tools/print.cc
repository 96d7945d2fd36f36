#include "tools/print.h"

#include <cstdio>
#include <string>

#include "meta/base/escape.h"

namespace tandem::tools {

void PrintFormatted(fmt::string_view format, fmt::format_args arguments) {
  std::puts(EscapeControls(fmt::vformat(format, arguments)).c_str());
}

void PrintJson(const Json& json) {
  constexpr bool kAscii = true;
  std::puts(json.dump(-1, ' ', kAscii, Json::error_handler_t::replace).c_str());
}

}  // namespace tandem::tools
