#include "tools/print.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "meta/base/escape.h"

namespace tandem::tools {

void PrintFormatted(fmt::string_view format, fmt::format_args arguments) {
  std::puts(EscapeControls(fmt::vformat(format, arguments)).c_str());
}

void PrintColoured(std::string_view colour, const std::string& before, const std::string& text) {
  std::string line = EscapeControls(before);
  if (!colour.empty()) line += "\033[" + std::string(colour) + "m";
  line += EscapeControls(text);
  if (!colour.empty()) line += "\033[0m";
  std::puts(line.c_str());
}

void PrintJson(const Json& json) {
  constexpr bool kAscii = true;
  std::puts(json.dump(-1, ' ', kAscii, Json::error_handler_t::replace).c_str());
}

Status FlushOutput() {
  if (std::fflush(stdout) != 0) return ErrnoError("write the output");
  if (std::ferror(stdout) == 0) return {};
  return ErrnoError(EIO, "write the output");
}

int ExitAfterOutput(const std::string& program, int code, int failure) {
  const Status flushed = FlushOutput();
  if (flushed) return code;
  Complain(program, flushed.error().ToString());
  return std::max(code, failure);
}

}  // namespace tandem::tools
