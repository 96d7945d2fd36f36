// The program's log: spdlog's default logger, set up once in main. Lines go to stderr, or after
// daemonising to syslog-like files below the state directory. Any thread.
//
// A line is one line whatever its arguments hold: names, and what peers say, are escaped
// (meta/base/escape.h).
//
// Formats are checked when compiled, as fmt does. spdlog's own headers are included by log.cc
// alone: each source that calls spdlog::info instantiates all of fmt, seconds of compiling every
// time.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Sets pattern and level (TANDEM_LOG=trace|debug|info|warn|error in the environment; info
// otherwise).
void SetUpLog(const std::string& program);

// From now on the log goes to this file, appended to and rotated at 10 MiB, three kept. Only its
// owner may read it, if the umask lets others do nothing.
Status LogToFile(const std::string& program, const std::string& path);

// One line. Nothing escapes: a line that cannot be formatted or written is lost.
void Log(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept;

// "PROGRAM: TEXT" on stderr, escaped like the log: what a person hears of an error.
void Complain(const std::string& program, std::string_view text);

template <typename... T>
void LogDebug(fmt::format_string<T...> format, const T&... arguments) {
  Log(LogLevel::kDebug, format, fmt::make_format_args(arguments...));
}

template <typename... T>
void LogInfo(fmt::format_string<T...> format, const T&... arguments) {
  Log(LogLevel::kInfo, format, fmt::make_format_args(arguments...));
}

template <typename... T>
void LogWarning(fmt::format_string<T...> format, const T&... arguments) {
  Log(LogLevel::kWarning, format, fmt::make_format_args(arguments...));
}

template <typename... T>
void LogError(fmt::format_string<T...> format, const T&... arguments) {
  Log(LogLevel::kError, format, fmt::make_format_args(arguments...));
}

}  // namespace tandem
