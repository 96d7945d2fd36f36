#include "fs/serving_threads.h"

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
    : session_(session), max_threads_(max_threads) {
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
  Serve();
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

void ServingThreads::Serve() {
  Buffer buffer;
  while (BecomeReader()) {
    int received = -EINTR;
    while (received == -EINTR && fuse_session_exited(session_) == 0) {
      received = fuse_session_receive_buf(session_, buffer.get());
    }
    if (received <= 0) {
      // 0: it is unmounted.
      End(received == -EINTR ? 0 : received);
      break;
    }
    CeaseReading();
    fuse_session_process_buf(session_, buffer.get());
  }
  MutexLock lock(mutex_);
  --serving_;
  ended_one_.NotifyAll();
}

bool ServingThreads::BecomeReader() {
  MutexLock lock(mutex_);
  while (!over_ && readers_ >= kReaders) {
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
  if (--readers_ > 0 || over_) return;
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

void ServingThreads::End(int result) {
  fuse_session_exit(session_);
  MutexLock lock(mutex_);
  if (over_) return;
  over_ = true;
  result_ = result;
  needed_.NotifyAll();
}

}  // namespace tandem::fs
