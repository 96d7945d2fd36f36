// A thread that does something at once and then again and again, until it is destroyed.
//
// `work` runs on the thread and must not destroy it. The destructor waits for work under way.
#pragma once

#include <functional>
#include <thread>
#include <utility>

#include "meta/base/mutex.h"

namespace tandem {

class PeriodicThread {
 public:
  // `every` is the time between the end of one run and the beginning of the next.
  PeriodicThread(CondVar::Clock::duration every, std::function<void()> work)
      : every_(every), work_(std::move(work)), thread_([this] { Run(); }) {}
  ~PeriodicThread() {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      stop_.NotifyAll();
    }
    thread_.join();
  }
  PeriodicThread(const PeriodicThread&) = delete;
  PeriodicThread& operator=(const PeriodicThread&) = delete;

 private:
  void Run() EXCLUDES(mutex_) {
    while (true) {
      work_();
      MutexLock lock(mutex_);
      const auto next = CondVar::Clock::now() + every_;
      while (!stopping_ && stop_.WaitUntil(mutex_, next)) {
      }
      if (stopping_) return;
    }
  }

  const CondVar::Clock::duration every_;
  const std::function<void()> work_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // uses the others
};

}  // namespace tandem
