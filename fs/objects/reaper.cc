#include "fs/objects/reaper.h"

#include <pthread.h>

#include <utility>

#include "fs/objects/tuning.h"

namespace tandem::fs {

Reaper::Reaper() {
  waiting_.reserve(kMaxReaperQueue);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "reap");
    Run();
  });
}

Reaper::~Reaper() {
  {
    MutexLock lock(mutex_);
    over_ = true;
    given_more_.NotifyOne();
  }
  thread_.join();
}

void Reaper::Close(Open open) {
  MutexLock lock(mutex_);
  // Then `open` itself closes it, after the lock is released.
  if (waiting_.size() == kMaxReaperQueue) return;
  waiting_.push_back(std::move(open));
  ++given_;
  if (waiting_.size() == 1 || waiting_.size() == kReaperBatch) given_more_.NotifyOne();
}

bool Reaper::Finish(std::chrono::milliseconds patience) {
  const auto deadline = CondVar::Clock::now() + patience;
  MutexLock lock(mutex_);
  if (closed_ == given_) return false;
  const uint64_t given = given_;
  awaited_ = true;
  given_more_.NotifyOne();
  while (closed_ < given) {
    if (!closed_more_.WaitUntil(mutex_, deadline)) return closed_ >= given;
  }
  return true;
}

void Reaper::Run() {
  std::vector<Open> closing;
  closing.reserve(kMaxReaperQueue);
  while (true) {
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !over_) given_more_.Wait(mutex_);
      if (waiting_.empty()) return;
      const auto deadline = CondVar::Clock::now() + kReaperBatchTime;
      while (waiting_.size() < kReaperBatch && !over_ && !awaited_) {
        if (!given_more_.WaitUntil(mutex_, deadline)) break;
      }
      awaited_ = false;
      closing.swap(waiting_);
    }
    const size_t count = closing.size();
    closing.clear();
    MutexLock lock(mutex_);
    closed_ += count;
    closed_more_.NotifyAll();
  }
}

}  // namespace tandem::fs
