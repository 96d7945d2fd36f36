#include "fs/serving/blocking_pool.h"

#include <pthread.h>

#include <new>
#include <utility>

#include "fs/serving/tuning.h"

namespace tandem::fs {

BlockingPool::BlockingPool(unsigned max_threads) : max_threads_(max_threads) {
  if (sched_getaffinity(0, sizeof processors_, &processors_) != 0) CPU_ZERO(&processors_);
}

bool BlockingPool::Run(Job job) {
  MutexLock lock(mutex_);
  if (closed_) return false;
  try {
    waiting_.push_back(std::move(job));
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (idle_ >= waiting_.size()) {
    job_added_.NotifyOne();
    return true;
  }
  if (threads_ >= max_threads_ || StartThread() || threads_ > 0) return true;
  waiting_.pop_back();
  return false;
}

bool BlockingPool::StartThread() {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (CPU_COUNT(&processors_) > 0) {
    pthread_attr_setaffinity_np(&attributes, sizeof processors_, &processors_);
  }
  pthread_t thread;
  const bool started = pthread_create(&thread, &attributes, &BlockingPool::ThreadEntry, this) == 0;
  pthread_attr_destroy(&attributes);
  if (started) ++threads_;
  return started;
}

void* BlockingPool::ThreadEntry(void* self) {
  pthread_setname_np(pthread_self(), "block");
  static_cast<BlockingPool*>(self)->Work();
  return nullptr;
}

void BlockingPool::Work() {
  while (Job job = Next()) job();
}

BlockingPool::Job BlockingPool::Next() {
  MutexLock lock(mutex_);
  const auto deadline = CondVar::Clock::now() + kPoolThreadLinger;
  bool needed = true;
  while (waiting_.empty() && needed && !closed_) {
    ++idle_;
    needed = job_added_.WaitUntil(mutex_, deadline);
    --idle_;
  }
  if (waiting_.empty()) {
    --threads_;
    thread_ended_.NotifyAll();
    return nullptr;
  }
  Job job = std::move(waiting_.front());
  waiting_.pop_front();
  return job;
}

void BlockingPool::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  job_added_.NotifyAll();
  while (threads_ > 0) thread_ended_.Wait(mutex_);
}

}  // namespace tandem::fs
