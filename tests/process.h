// Child processes of tests: programs under test and helpers. Each is ended when its Process goes,
// and by the kernel when the thread that started it does, so start them from the test's own thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/unique_fd.h"

namespace tandem::test {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What a test waits for at most, unless it says otherwise.
inline constexpr seconds kPatience{60};

// Looks again and again; false if the condition has not become true in time.
bool WaitFor(const std::function<bool()>& condition, milliseconds limit = kPatience);

struct Outcome {
  // As a shell has it: 128 and the signal for a process that was killed.
  int code = -1;
  std::string out;
  std::string err;
};
std::ostream& operator<<(std::ostream& stream, const Outcome& outcome);

struct Launch {
  std::vector<std::string> command;
  std::map<std::string, std::string> environment = {};  // added to our own
  std::string directory = {};
  std::optional<uid_t> user = {};
};

class Process {
 public:
  // Ends the test program if the process cannot be started; a missing program shows as code 127.
  explicit Process(const Launch& launch);
  Process(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  // Stopped by a signal, in all its threads.
  bool stopped() const;
  bool running() { return !Wait(milliseconds(0)); }
  void Signal(int number);
  // The exit code as in Outcome; nothing if it is still running at the end of the time.
  std::optional<int> Wait(milliseconds limit = kPatience);
  // What it has written so far.
  std::string out() const;
  std::string err() const;

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd out_;
  UniqueFd err_;
  std::optional<int> code_;
};

// Runs to the end, or kills it (code 137).
Outcome Execute(const Launch& launch, milliseconds limit = seconds(300));
Outcome Execute(std::vector<std::string> command, milliseconds limit = seconds(300));

// Programs of this build: "tandemfs", "tests/workload".
std::string Program(const std::string& name);

}  // namespace tandem::test
