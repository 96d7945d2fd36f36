// A thread of the test that is known to wait: who wakes it, or is to be waited for by it, goes on
// only then.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include "tests/process.h"

namespace tandem::test {

class WaitingThread {
 public:
  template <typename Work>
  explicit WaitingThread(Work work)
      : thread_([this, work = std::move(work)] {
          id_ = gettid();
          work();
        }) {}
  ~WaitingThread() { thread_.join(); }
  WaitingThread(const WaitingThread&) = delete;

  // Once it sleeps: a lock, a condition, a disk. `work` must come to that, and not soon out of it.
  void ExpectAsleep() const {
    EXPECT_TRUE(WaitFor([this] { return id_ != 0 && StateOf(id_) == 'S'; })) << "it does not wait";
  }

 private:
  // The letter after the name, proc(5).
  static char StateOf(pid_t id) {
    std::ifstream file("/proc/self/task/" + std::to_string(id) + "/stat");
    std::string line;
    std::getline(file, line);
    const size_t name_end = line.rfind(") ");
    return name_end + 2 < line.size() && name_end != line.npos ? line[name_end + 2] : '?';
  }

  std::atomic<pid_t> id_{0};
  std::thread thread_;
};

}  // namespace tandem::test
