#include "fs/reaper.h"

#include <pthread.h>

#include <utility>

namespace tandem::fs {
namespace {

constexpr size_t kMostWaiting = 64;

}  // namespace

Reaper::Reaper() {
  waiting_.reserve(kMostWaiting);
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
  if (waiting_.size() == kMostWaiting) return;
  waiting_.push_back(std::move(open));
  // Awake, it looks again by itself.
  if (given_++ == closed_) given_more_.NotifyOne();
}

bool Reaper::Finish(std::chrono::milliseconds patience) {
  const auto deadline = CondVar::Clock::now() + patience;
  MutexLock lock(mutex_);
  if (closed_ == given_) return false;
  const uint64_t given = given_;
  while (closed_ < given) {
    if (!closed_more_.WaitUntil(mutex_, deadline)) return closed_ >= given;
  }
  return true;
}

void Reaper::Run() {
  std::vector<Open> closing;
  closing.reserve(kMostWaiting);
  while (true) {
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !over_) given_more_.Wait(mutex_);
      if (waiting_.empty()) return;
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
