// The output of `tandem`. Names and messages in it come from other users and from peers, so control
// characters are escaped before they reach the terminal. All output to stdout goes through here,
// and to stderr through Complain (meta/base/log.h). Single-threaded.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "meta/base/log.h"
#include "tools/control.h"

namespace tandem::tools {

// Prints one line: newlines in the arguments are escaped. `format` as for fmt.
void PrintFormatted(fmt::string_view format, fmt::format_args arguments);

template <typename... T>
void PrintLine(fmt::format_string<T...> format, const T&... arguments) {
  PrintFormatted(format, fmt::make_format_args(arguments...));
}

// Prints one line: `before`, and `text` in a colour of the terminal (ECMA-48: "31" is red), or
// plainly if `colour` is empty.
void PrintColoured(std::string_view colour, const std::string& before, const std::string& text);

// Prints JSON in ASCII, for programs.
void PrintJson(const Json& json);

// Fails if anything printed to stdout so far could not be written.
Status FlushOutput();

// Flushes stdout and returns the program's exit code: `code`, or, if the output could not be
// written, the higher of `code` and `failure`. In that case it complains.
int ExitAfterOutput(const std::string& program, int code, int failure = EXIT_FAILURE);

}  // namespace tandem::tools
