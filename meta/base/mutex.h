// std::mutex with the annotations that clang's -Wthread-safety checks. fs/LOCKING.md defines the
// order in which mutexes are taken; replica/store/volume.h does for those of a store.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define TANDEM_ANNOTATE(x) __attribute__((x))
#else
#define TANDEM_ANNOTATE(x)
#endif

#define CAPABILITY(x) TANDEM_ANNOTATE(capability(x))
#define SCOPED_CAPABILITY TANDEM_ANNOTATE(scoped_lockable)
#define GUARDED_BY(x) TANDEM_ANNOTATE(guarded_by(x))
#define PT_GUARDED_BY(x) TANDEM_ANNOTATE(pt_guarded_by(x))
#define REQUIRES(...) TANDEM_ANNOTATE(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) TANDEM_ANNOTATE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) TANDEM_ANNOTATE(release_capability(__VA_ARGS__))
#define EXCLUDES(...) TANDEM_ANNOTATE(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS TANDEM_ANNOTATE(no_thread_safety_analysis)

namespace tandem {

class CAPABILITY("mutex") Mutex {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }
  std::mutex& native() { return mutex_; }

 private:
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Wait, WaitUntil and WaitFor require the Mutex and hold it again when they return. They may wake
// spuriously, so callers loop on their condition.
class CondVar {
 public:
  using Clock = std::chrono::steady_clock;

  void Wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.native(), std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // Returns false once `deadline` has passed.
  bool WaitUntil(Mutex& mutex, Clock::time_point deadline) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.native(), std::adopt_lock);
    const bool in_time = condition_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  bool WaitFor(Mutex& mutex, std::chrono::milliseconds timeout) REQUIRES(mutex) {
    return WaitUntil(mutex, Clock::now() + timeout);
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace tandem
