#include "fs/serving/delayed_calls.h"

#include <sched.h>
#include <unistd.h>

#include <system_error>
#include <thread>
#include <utility>

#include "fs/serving/tuning.h"

namespace tandem::fs {

// The process's main thread is bound to no processor.
void DelayedCalls::Unbind() {
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0) sched_setaffinity(0, sizeof set, &set);
}

DelayedCalls::Started DelayedCalls::Start(std::function<void()> call) {
  MutexLock lock(mutex_);
  if (finished_) return Started::kNo;
  if (running_ >= kMostDelayedCalls) return Started::kTooMany;
  try {
    std::thread([this, call = std::move(call)]() mutable {
      Unbind();
      call();
      call = nullptr;  // destroys what it captured before Finish may return
      NoteEnd();
    }).detach();
  } catch (const std::system_error&) {
    return Started::kNo;
  }
  ++running_;
  return Started::kYes;
}

void DelayedCalls::NoteEnd() {
  MutexLock lock(mutex_);
  --running_;
  ended_.NotifyAll();
}

void DelayedCalls::Finish() {
  MutexLock lock(mutex_);
  finished_ = true;
  while (running_ > 0) ended_.Wait(mutex_);
}

}  // namespace tandem::fs
