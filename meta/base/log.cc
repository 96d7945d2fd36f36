#include "meta/base/log.h"

#include <spdlog/cfg/helpers.h>
#include <spdlog/sinks/dup_filter_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "meta/base/escape.h"
#include "meta/base/private_files.h"

namespace tandem {
namespace {

spdlog::level::level_enum LevelOfEnvironment() {
  const char* const level = std::getenv("TANDEM_LOG");
  return level != nullptr ? spdlog::level::from_str(level) : spdlog::level::info;
}

// A line that follows itself within this time is counted instead.
constexpr std::chrono::seconds kRepeatsCounted{60};

void Install(const std::string& program, std::shared_ptr<spdlog::sinks::sink> sink) {
  auto counting = std::make_shared<spdlog::sinks::dup_filter_sink_mt>(kRepeatsCounted);
  counting->add_sink(std::move(sink));
  auto logger = std::make_shared<spdlog::logger>(program, std::move(counting));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n[%P] %l: %v");
  logger->flush_on(spdlog::level::info);
  const auto before = spdlog::default_logger();
  if (before != nullptr && before->name() == program) {
    logger->set_level(before->level());  // as it was set since
  } else {
    logger->set_level(LevelOfEnvironment());
  }
  spdlog::set_default_logger(std::move(logger));
}

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void SetUpLog(const std::string& program) {
  Install(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
}

Status CheckLogLevel(const std::string& level) {
  for (const char* known : {"", "debug", "info", "warning", "error"}) {
    if (level == known) return {};
  }
  return MakeError(ErrorKind::kUsage,
                   "log at level \"" + level + "\" (debug, info, warning or error is expected)",
                   EINVAL);
}

Status SetLogLevel(const std::string& level) {
  RETURN_IF_ERROR(CheckLogLevel(level));
  if (!level.empty()) spdlog::set_level(spdlog::level::from_str(level));
  return {};
}

void ResetLogLevel() { spdlog::set_level(LevelOfEnvironment()); }

Status LogToFile(const std::string& program, const std::string& path) {
  constexpr size_t kMaxBytes = 10 << 20;
  constexpr size_t kKept = 3;
  for (const char* older : {"", ".1", ".2", ".3"}) {
    std::string file = path;
    EnsureMode(file.insert(std::min(path.rfind('.'), path.size()), older), kPrivateFile);
  }
  try {
    Install(program,
            std::make_shared<spdlog::sinks::rotating_file_sink_mt>(path, kMaxBytes, kKept));
  } catch (const spdlog::spdlog_ex& e) {
    return MakeError(ErrorKind::kSystem, "open log file " + path + " (" + e.what() + ")");
  }
  return {};
}

void Log(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept {
  try {
    if (!spdlog::should_log(LevelOf(level))) return;
    const std::string line = EscapeControls(fmt::vformat(format, arguments));
    spdlog::default_logger_raw()->log(LevelOf(level), spdlog::string_view_t(line));
  } catch (const std::exception&) {
    // If allocation fails, the line is lost.
  }
}

void Complain(const std::string& program, std::string_view text) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), EscapeControls(text).c_str());
}

}  // namespace tandem
