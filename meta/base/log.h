// The program's log: spdlog's default logger, set up once in main. Messages go to stderr, or, after
// daemonising, to a log file below the state directory. Any thread.
//
// A line that is the same as the one before, within a minute, is counted instead of repeated.
//
// A message is always one line: its text, with the file names and peer messages in it, is escaped
// (meta/base/escape.h).
//
// fmt checks formats at compile time. Only log.cc includes spdlog's headers, because every source
// that calls spdlog::info instantiates all of fmt, which takes seconds to compile.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Sets the pattern and the level. The level is that of TANDEM_LOG in the environment
// (trace|debug|info|warn|error), by default info.
void SetUpLog(const std::string& program);

// Sets the level: debug, info, warning or error. An empty one changes nothing. Returns kUsage if
// there is none of that name. CheckLogLevel only says so.
Status SetLogLevel(const std::string& level);
Status CheckLogLevel(const std::string& level);
// Sets the level that SetUpLog has set.
void ResetLogLevel();

// Sends the log to this file from now on. Appends to the file, rotates it at 10 MiB and keeps three
// older ones. Only the owner may read them, provided that the umask denies others everything.
Status LogToFile(const std::string& program, const std::string& path);

// Writes one line. A line that cannot be formatted or written is lost.
void Log(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept;

// Prints "PROGRAM: TEXT" on stderr, escaped like the log. Used to report an error to the user.
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
