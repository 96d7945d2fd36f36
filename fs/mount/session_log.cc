#include "fs/mount/session_log.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "fs/serving/fuse_api.h"
#include "meta/base/log.h"

namespace tandem::fs {
namespace {

thread_local SessionErrors* current_errors = nullptr;

LogLevel LevelOf(fuse_log_level level) {
  if (level <= FUSE_LOG_ERR) return LogLevel::kError;
  if (level == FUSE_LOG_WARNING) return LogLevel::kWarning;
  return level <= FUSE_LOG_INFO ? LogLevel::kInfo : LogLevel::kDebug;
}

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

void LogForSession(fuse_log_level level, const char* format, va_list arguments) {
  char text[1024];
  if (std::vsnprintf(text, sizeof text, format, arguments) < 0) return;
  if (current_errors != nullptr && level <= FUSE_LOG_ERR) {
    current_errors->Add(text);
  } else {
    const std::string line = OneLine(text);
    Log(LevelOf(level), "{}", fmt::make_format_args(line));
  }
}

}  // namespace

void RedirectSessionLog() { fuse_set_log_func(&LogForSession); }

SessionErrors::SessionErrors() { current_errors = this; }

SessionErrors::~SessionErrors() { current_errors = nullptr; }

std::string SessionErrors::Text() const {
  return text_.empty() ? "no reason given" : OneLine(text_);
}

}  // namespace tandem::fs
