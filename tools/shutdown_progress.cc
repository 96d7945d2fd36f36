#include "tools/shutdown_progress.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "meta/base/log.h"
#include "meta/base/private_files.h"
#include "meta/base/replace_file.h"
#include "meta/base/unique_fd.h"

namespace tandem::tools {
namespace {

using Json = nlohmann::json;

constexpr std::chrono::milliseconds kWriteEvery{500};

std::string PathIn(const std::string& directory) { return directory + "/tandemfs.ending"; }

}  // namespace

ShutdownProgress::ShutdownProgress(const std::string& directory) : path_(PathIn(directory)) {
  (void)unlink(path_.c_str());  // left behind if a tandemfs was killed during its shutdown
}

ShutdownProgress::~ShutdownProgress() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
  (void)unlink(path_.c_str());
}

void ShutdownProgress::Report(std::string doing) {
  MutexLock lock(mutex_);
  doing_ = std::move(doing);
  wake_.NotifyAll();
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
}

void ShutdownProgress::ReportIfBegun(std::string doing) {
  MutexLock lock(mutex_);
  if (doing_.empty()) return;
  doing_ = std::move(doing);
  wake_.NotifyAll();
}

void ShutdownProgress::Run() {
  for (uint64_t beat = 0;; ++beat) {
    std::string doing;
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      doing = doing_;
    }
    const Json note = {{"pid", getpid()}, {"doing", doing}, {"beat", beat}};
    // Not durable: a power cut ends its readers as well. Best effort on a full disk.
    (void)ReplaceFile(path_, note.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n",
                      kPrivateFile, /*durably=*/false);
    const auto next = CondVar::Clock::now() + kWriteEvery;
    MutexLock lock(mutex_);
    while (!stopping_ && doing == doing_ && wake_.WaitUntil(mutex_, next)) {
    }
  }
}

std::optional<ShutdownStatus> ReadShutdownStatus(const std::string& directory) {
  std::ifstream file(PathIn(directory));
  if (!file) return std::nullopt;
  const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto pid = json.find("pid");
  const auto doing = json.find("doing");
  const auto beat = json.find("beat");
  if (pid == json.end() || !pid->is_number_integer()) return std::nullopt;
  if (doing == json.end() || !doing->is_string()) return std::nullopt;
  if (beat == json.end() || !beat->is_number_unsigned()) return std::nullopt;
  return ShutdownStatus{pid->get<pid_t>(), doing->get<std::string>(), beat->get<uint64_t>()};
}

bool ShutdownWatch::IsProgressing() {
  const auto now = std::chrono::steady_clock::now();
  std::optional<ShutdownStatus> note = ReadShutdownStatus(directory_);
  gone_ = !note;
  // Without the file, it may be about to release the lock.
  if (gone_) return last_ && now - changed_ < kStalledAfter;
  if (!last_ || note->pid != last_->pid || note->beat != last_->beat) changed_ = now;
  last_ = std::move(note);
  if (std::string text = Description(); text != said_) {
    Complain("tandemfs", "waiting for " + text);
    said_ = std::move(text);
  }
  return now - changed_ < kStalledAfter;
}

std::string ShutdownWatch::Description() const {
  if (!last_ || gone_) return "";
  return "the tandemfs that is ending (process " + std::to_string(last_->pid) +
         "): " + last_->doing;
}

}  // namespace tandem::tools
