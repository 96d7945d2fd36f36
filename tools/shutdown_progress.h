// What a tandemfs that is shutting down is doing, in the file `tandemfs.ending` beside the state of
// its volume. A tandemfs that wants to mount the volume waits for it, and can say what for. The
// file is rewritten each half second; if it no longer changes, the shutdown has stalled.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "meta/base/mutex.h"

namespace tandem::tools {

// Any thread. The destructor removes the file.
class ShutdownProgress {
 public:
  // `directory` is the state directory. Removes a stale file; writes none before the first Report.
  explicit ShutdownProgress(const std::string& directory);
  ShutdownProgress(ShutdownProgress&&) = delete;
  ~ShutdownProgress();

  // The shutdown has begun, and is doing this.
  void Report(std::string doing) EXCLUDES(mutex_);
  // The same, if it has begun.
  void ReportIfBegun(std::string doing) EXCLUDES(mutex_);

 private:
  void Run() EXCLUDES(mutex_);

  const std::string path_;
  Mutex mutex_;
  CondVar wake_;
  std::string doing_ GUARDED_BY(mutex_);  // empty before the first Report
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

struct ShutdownStatus {
  pid_t pid = 0;
  std::string doing;
  uint64_t beat = 0;  // counts how often the file was written
};
// Returns nullopt if there is no file or it cannot be parsed.
std::optional<ShutdownStatus> ReadShutdownStatus(const std::string& directory);

// Follows the progress of a tandemfs that holds a lock, for a thread that waits for the lock.
class ShutdownWatch {
 public:
  // A shutdown whose file has not changed for so long has stalled.
  static constexpr std::chrono::seconds kStalledAfter{15};

  explicit ShutdownWatch(std::string directory) : directory_(std::move(directory)) {}

  // Reads the file again. Returns whether a shutdown is going on and has not stalled. Says on
  // stderr which process it waits for, and what that one is doing.
  bool IsProgressing();
  // Returns the process and what it is doing, for messages; empty if no shutdown is going on.
  std::string Description() const;

 private:
  const std::string directory_;
  std::optional<ShutdownStatus> last_;
  bool gone_ = false;
  std::chrono::steady_clock::time_point changed_{};
  std::string said_;
};

}  // namespace tandem::tools
