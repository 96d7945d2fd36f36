#include "fs/serving_threads.h"

#include <sys/sysinfo.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace tandem::fs {
namespace {

// Ends a read(2) and does nothing else.
int WakeSignal() { return SIGRTMIN; }

void InstallWakeSignal() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(WakeSignal(), &action, nullptr);
}

class Buffer {
 public:
  ~Buffer() { std::free(buffer_.mem); }
  fuse_buf* get() { return &buffer_; }

 private:
  fuse_buf buffer_ = {};
};

}  // namespace

ServingThreads::ServingThreads(fuse_session* session, unsigned max_threads)
    : session_(session), max_threads_(max_threads), policy_(static_cast<unsigned>(get_nprocs())) {
  InstallWakeSignal();
}

ServingThreads::~ServingThreads() {
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
}

int ServingThreads::Run() {
  {
    MutexLock lock(mutex_);
    first_ = pthread_self();
    serving_ = 1;
  }
  pthread_t watch;
  if (const int error = pthread_create(&watch, nullptr, &ServingThreads::WatchEntry, this);
      error != 0) {
    return -error;
  }
  Serve();
  pthread_join(watch, nullptr);
  std::vector<pthread_t> threads;
  {
    MutexLock lock(mutex_);
    while (serving_ > 0) ended_one_.Wait(mutex_);
    threads.swap(threads_);
  }
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  MutexLock lock(mutex_);
  return result_;
}

void ServingThreads::Interrupt() {
  constexpr std::chrono::milliseconds kAgain(5);
  End(0);
  MutexLock lock(mutex_);
  // Again and again: one that was just about to read when the signal came would wait for ever.
  while (serving_ > 0) {
    for (const pthread_t thread : threads_) pthread_kill(thread, WakeSignal());
    pthread_kill(first_, WakeSignal());
    ended_one_.WaitFor(mutex_, kAgain);
  }
}

void* ServingThreads::ThreadEntry(void* self) {
  pthread_setname_np(pthread_self(), "serve");
  static_cast<ServingThreads*>(self)->Serve();
  return nullptr;
}

void* ServingThreads::WatchEntry(void* self) {
  pthread_setname_np(pthread_self(), "watch");
  static_cast<ServingThreads*>(self)->Watch();
  return nullptr;
}

void ServingThreads::Serve() {
  using Clock = std::chrono::steady_clock;
  Buffer buffer;
  while (BecomeReader()) {
    const Clock::time_point asked = Clock::now();
    int received = -EINTR;
    while (received == -EINTR && fuse_session_exited(session_) == 0) {
      received = fuse_session_receive_buf(session_, buffer.get());
    }
    if (received <= 0) {
      // 0: it is unmounted.
      End(received == -EINTR ? 0 : received);
      break;
    }
    const Clock::time_point began = Clock::now();
    CeaseReading();
    fuse_session_process_buf(session_, buffer.get());
    policy_.Handled(began - asked, Clock::now() - began);
  }
  MutexLock lock(mutex_);
  --serving_;
  ended_one_.NotifyAll();
}

bool ServingThreads::BecomeReader() {
  MutexLock lock(mutex_);
  while (!over_ && readers_ >= policy_.Readers()) {
    ++parked_;
    needed_.Wait(mutex_);
    --parked_;
  }
  if (over_) return false;
  ++readers_;
  return true;
}

void ServingThreads::CeaseReading() {
  MutexLock lock(mutex_);
  ++received_;
  if (!watching_) {
    watching_ = true;
    watched_.NotifyOne();
  }
  if (--readers_ == 0 && policy_.Readers() > 1) Recruit();
}

void ServingThreads::Recruit() {
  if (over_) return;
  if (parked_ > 0) {
    needed_.NotifyOne();
    return;
  }
  if (serving_ >= max_threads_) return;
  pthread_t thread;
  // Without another thread it goes on with those there are.
  if (pthread_create(&thread, nullptr, &ServingThreads::ThreadEntry, this) != 0) return;
  threads_.push_back(thread);
  ++serving_;
}

void ServingThreads::Watch() {
  constexpr std::chrono::milliseconds kTick(1);
  constexpr int kQuietTicks = 100;  // after which it sleeps
  MutexLock lock(mutex_);
  watching_ = true;
  uint64_t seen = received_;
  int quiet = 0;
  while (!over_) {
    if (quiet == kQuietTicks) {
      watching_ = false;
      while (!watching_ && !over_) watched_.Wait(mutex_);
      quiet = 0;
      seen = received_;
    }
    watched_.WaitFor(mutex_, kTick);
    quiet = received_ == seen ? quiet + 1 : 0;
    seen = received_;
    if (quiet > 0 && readers_ == 0) Recruit();
  }
}

void ServingThreads::End(int result) {
  fuse_session_exit(session_);
  MutexLock lock(mutex_);
  if (over_) return;
  over_ = true;
  result_ = result;
  needed_.NotifyAll();
  watched_.NotifyAll();
}

}  // namespace tandem::fs
