// A note beside the state of a volume, in the file `tandemfs.ending`, that its tandemfs is ending,
// and with what it is busy: whoever wants to mount the volume meanwhile waits for that one, and can
// say what for. It is written anew each half second, so one that is not stands still.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "meta/base/mutex.h"

namespace tandem::tools {

// Any thread. When the object goes, so does the note.
class EndingNote {
 public:
  // In this state directory. Nothing is written before the first Say.
  explicit EndingNote(const std::string& directory);
  EndingNote(EndingNote&&) = delete;
  ~EndingNote();

  // It is ending, and doing this.
  void Say(std::string doing) EXCLUDES(mutex_);
  // The same, if it is ending.
  void SayIfEnding(std::string doing) EXCLUDES(mutex_);

 private:
  void Run() EXCLUDES(mutex_);

  const std::string path_;
  Mutex mutex_;
  CondVar wake_;
  std::string doing_ GUARDED_BY(mutex_);  // empty: it is not ending
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

struct Ending {
  pid_t pid = 0;
  std::string doing;
  uint64_t beat = 0;  // another one each time it is written
};
// Nothing: there is no note, or it cannot be read.
std::optional<Ending> ReadEndingNote(const std::string& directory);

// Follows the note of one that holds a lock, for a thread that waits for that lock.
class EndingWatch {
 public:
  // One that has not written its note for so long is not waited for any more.
  static constexpr std::chrono::seconds kStandsStill{15};

  explicit EndingWatch(std::string directory) : directory_(std::move(directory)) {}

  // Looks again. True: it is ending, and was not still for too long. Says on stderr whom it waits
  // for, and with what that one is busy.
  bool GoesOn();
  // For the message when it is not waited for any more; empty: it is not ending.
  std::string Description() const;

 private:
  const std::string directory_;
  std::optional<Ending> last_;
  bool gone_ = false;
  std::chrono::steady_clock::time_point changed_{};
  std::string said_;
};

}  // namespace tandem::tools
