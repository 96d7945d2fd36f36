// Threads whose work can wait for all other work of the machine: the larger part of a verify.
//
// At the policy SCHED_IDLE a thread makes room at once for any other that wakes up; one that is
// only nice does so at the next tick of the clock, which is up to 10 ms later. But beside a program
// that computes all the time it gets a three-hundredth of a processor. So while such threads are
// kept waiting, new ones are made nice instead. Any thread.
#pragma once

#include <cstdint>
#include <functional>

namespace tandem {

// Lowers the priority of the calling thread when it is made: for good, because without a privilege
// it cannot be raised again. When it ends it notes how long the thread was kept waiting. Best
// effort.
class LowCpuPriority {
 public:
  // `may_be_idle`: false if it takes locks that others wait for.
  explicit LowCpuPriority(bool may_be_idle = true);
  ~LowCpuPriority();
  LowCpuPriority(const LowCpuPriority&) = delete;
  LowCpuPriority& operator=(const LowCpuPriority&) = delete;

 private:
  struct Times {
    int64_t running_ns = 0;
    int64_t waiting_ns = 0;  // for a processor
  };
  static bool Read(Times& times);

  bool is_idle_ = false;
  Times before_;
};

// Calls `work` on a thread of its own at that priority, and waits for it to return. If there can be
// no further thread, calls it on this one. Not for work that others wait for.
void RunAtLowCpuPriority(const std::function<void()>& work);

}  // namespace tandem
