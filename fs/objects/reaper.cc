#include "fs/objects/reaper.h"

#include <pthread.h>

#include <utility>

#include "fs/objects/tuning.h"

namespace tandem::fs {

Reaper::Reaper() {
  queue_.reserve(kMaxReaperQueue);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "reap");
    Run();
  });
}

Reaper::~Reaper() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    work_added_.NotifyOne();
  }
  thread_.join();
}

void Reaper::Close(Open open) {
  MutexLock lock(mutex_);
  // If the queue is full, the destructor of `open` closes it, after the lock is released.
  if (queue_.size() == kMaxReaperQueue) return;
  queue_.push_back(std::move(open));
  ++queued_;
  if (queue_.size() == 1 || queue_.size() == kReaperBatch) work_added_.NotifyOne();
}

bool Reaper::Finish(std::chrono::milliseconds timeout) {
  const auto deadline = CondVar::Clock::now() + timeout;
  MutexLock lock(mutex_);
  if (closed_ == queued_) return false;
  const uint64_t queued = queued_;
  hurry_ = true;
  work_added_.NotifyOne();
  while (closed_ < queued) {
    if (!batch_closed_.WaitUntil(mutex_, deadline)) return closed_ >= queued;
  }
  return true;
}

void Reaper::Run() {
  std::vector<Open> closing;
  closing.reserve(kMaxReaperQueue);
  while (true) {
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) work_added_.Wait(mutex_);
      if (queue_.empty()) return;
      const auto deadline = CondVar::Clock::now() + kReaperBatchTime;
      while (queue_.size() < kReaperBatch && !stopping_ && !hurry_) {
        if (!work_added_.WaitUntil(mutex_, deadline)) break;
      }
      hurry_ = false;
      closing.swap(queue_);
    }
    const size_t count = closing.size();
    closing.clear();
    MutexLock lock(mutex_);
    closed_ += count;
    batch_closed_.NotifyAll();
  }
}

}  // namespace tandem::fs
