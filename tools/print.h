// What `tandem` prints. Names and messages in it come from other users and from peers; nothing of
// them reaches the terminal but as text. All its output to stdout goes through here, and to stderr
// through Complain (meta/base/log.h). Single-threaded.
#pragma once

#include <cstdlib>
#include <string>

#include "meta/base/log.h"
#include "tools/control.h"

namespace tandem::tools {

// One line, whatever the arguments hold. Format as fmt's.
void PrintFormatted(fmt::string_view format, fmt::format_args arguments);

template <typename... T>
void PrintLine(fmt::format_string<T...> format, const T&... arguments) {
  PrintFormatted(format, fmt::make_format_args(arguments...));
}

// For programs: exact, and in ASCII.
void PrintJson(const Json& json);

// Fails if anything that was printed to stdout so far could not be written.
Status FlushOutput();

// The program's exit code: `code`, or, if what it had to say could not be written, `failure` or
// `code`, whichever is higher; then it has complained.
int ExitAfterOutput(const std::string& program, int code, int failure = EXIT_FAILURE);

}  // namespace tandem::tools
