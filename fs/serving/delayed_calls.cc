#include "fs/serving/delayed_calls.h"

#include <system_error>
#include <thread>
#include <utility>

namespace tandem::fs {

bool DelayedCalls::Start(std::function<void()> call) {
  MutexLock lock(mutex_);
  if (finished_) return false;
  try {
    std::thread([this, call = std::move(call)]() mutable {
      call();
      call = nullptr;  // destroys what it captured before Finish may return
      NoteEnd();
    }).detach();
  } catch (const std::system_error&) {
    return false;
  }
  ++running_;
  return true;
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
