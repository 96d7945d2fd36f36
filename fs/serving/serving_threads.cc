#include "fs/serving/serving_threads.h"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "fs/serving/reader_spin.h"
#include "fs/serving/tuning.h"
#include "fs/serving/wake_signal.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {
namespace {

// Errors of a read that end neither the session nor this thread.
bool IsTransient(int received) {
  return received == -EINTR || received == -EAGAIN || received == -ENOMEM;
}

}  // namespace

ServingThreads::ServingThreads(fuse_session* session, const Options& options)
    : session_(session),
      max_threads_(options.max_threads),
      policy_(static_cast<unsigned>(get_nprocs()), options.adaptive_readers),
      spins_(options.spins && get_nprocs() > 1),
      transport_(*options.transport),
      blocking_(kBlockingPerThread * options.max_threads) {
  InstallWakeSignal();
}

ServingThreads::~ServingThreads() {
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  for (const pthread_t thread : left_) pthread_join(thread, nullptr);
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
    MutexLock lock(mutex_);
    serving_ = 0;
    return -error;
  }
  Serve();
  pthread_join(watch, nullptr);
  std::vector<pthread_t> left;
  {
    MutexLock lock(mutex_);
    while (serving_ > 0) thread_left_.Wait(mutex_);
    left.swap(left_);
  }
  for (const pthread_t thread : left) pthread_join(thread, nullptr);
  MutexLock lock(mutex_);
  return result_;
}

void ServingThreads::Interrupt() {
  End(0);
  MutexLock lock(mutex_);
  // Repeated: a thread that was about to call read(2) when the signal came would wait for ever.
  while (serving_ > 0) {
    for (const pthread_t thread : threads_) pthread_kill(thread, WakeSignal());
    pthread_kill(first_, WakeSignal());
    thread_left_.WaitFor(mutex_, kInterruptRepeat);
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
  RequestBuffer request;
  const UniqueFd state(open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC));
  ReaderSpin spin;
  while (BecomeReader()) {
    int received = -EINTR;
    // Beside rings only forgets come here.
    const bool spins = spins_ && !transport_.over_io_uring();
    if (spins) spin.Await(fuse_session_fd(session_));
    while (IsTransient(received) && fuse_session_exited(session_) == 0) {
      received = fuse_session_receive_buf(session_, request.get());
      if (received == -ENOMEM) std::this_thread::sleep_for(kNoMemoryPause);
    }
    if (received <= 0) {
      // 0: unmounted.
      End(IsTransient(received) ? 0 : received);
      break;
    }
    if (spins) spin.Received();
    Handle(StopReading(state.get(), request), request);
  }
  Leave();
}

void ServingThreads::Handle(BlockingRequests::Admission admission, RequestBuffer& request) {
  if (admission == BlockingRequests::Admission::kQueued) return;
  fuse_session_process_buf(session_, request.get());
  if (admission == BlockingRequests::Admission::kUncounted) return;
  while (std::optional<RequestBuffer> next = NextBlocking()) {
    fuse_session_process_buf(session_, next->get());
  }
}

std::optional<RequestBuffer> ServingThreads::NextBlocking() {
  MutexLock lock(mutex_);
  return blocking_.Next();
}

void ServingThreads::Leave() {
  MutexLock lock(mutex_);
  --serving_;
  const auto self = std::ranges::find_if(
      threads_, [](pthread_t thread) { return pthread_equal(thread, pthread_self()) != 0; });
  if (self != threads_.end()) {
    left_.push_back(*self);
    threads_.erase(self);
  }
  thread_left_.NotifyAll();
}

bool ServingThreads::IsSurplus() {
  return serving_ > max_threads_ + blocking_.running() &&
         pthread_equal(first_, pthread_self()) == 0;
}

bool ServingThreads::BecomeReader() {
  MutexLock lock(mutex_);
  while (!stopping_ && readers_ >= policy_.Readers()) {
    bool needed = true;
    ++parked_;
    if (IsSurplus()) {
      needed = reader_needed_.WaitUntil(mutex_, CondVar::Clock::now() + kSurplusThreadLinger);
    } else {
      reader_needed_.Wait(mutex_);
    }
    --parked_;
    if (!needed && readers_ > 0 && IsSurplus()) return false;
  }
  if (stopping_) return false;
  ++readers_;
  return true;
}

BlockingRequests::Admission ServingThreads::StopReading(int state, RequestBuffer& request) {
  MutexLock lock(mutex_);
  ++received_;
  handler_state_ = state;
  if (!watching_) {
    watching_ = true;
    watch_wanted_.NotifyOne();
  }
  const BlockingRequests::Admission admission = blocking_.Admit(request);
  if (--readers_ == 0 && policy_.Readers() > 1) AddReader();
  return admission;
}

void ServingThreads::AddReader() {
  if (stopping_) return;
  if (parked_ > 0) {
    reader_needed_.NotifyOne();
    return;
  }
  if (serving_ >= max_threads_ + blocking_.running()) return;
  // None of these threads takes the lock again.
  for (const pthread_t thread : left_) pthread_join(thread, nullptr);
  left_.clear();
  pthread_t thread;
  // On failure the existing threads go on.
  if (pthread_create(&thread, nullptr, &ServingThreads::ThreadEntry, this) != 0) return;
  threads_.push_back(thread);
  ++serving_;
}

void ServingThreads::Watch() {
  while (AwaitTick()) {
    const ServingActivity activity = Sample();
    policy_.Tick(activity);
    if (activity != ServingActivity::kBlocked) continue;
    MutexLock lock(mutex_);
    if (readers_ == 0) AddReader();
  }
}

bool ServingThreads::AwaitTick() {
  MutexLock lock(mutex_);
  quiet_ticks_ = received_ == seen_ ? quiet_ticks_ + 1 : 0;
  if (quiet_ticks_ >= kQuietTicksToSleep && readers_ > 0) {
    watching_ = false;
    while (!watching_ && !stopping_) watch_wanted_.Wait(mutex_);
  }
  watching_ = true;
  seen_ = received_;
  if (!stopping_) watch_wanted_.WaitFor(mutex_, kReaderTick);
  return !stopping_;
}

ServingActivity ServingThreads::Sample() {
  int state;
  uint64_t request;
  {
    MutexLock lock(mutex_);
    if (readers_ > 0 || received_ == 0) return ServingActivity::kReading;
    state = handler_state_;
    request = received_;
  }
  // The state is the letter after the name, proc(5). If the thread has ended meanwhile, the
  // descriptor may be another file's; then `same` is false below.
  char line[64];
  const ssize_t length = pread(state, line, sizeof line, 0);
  const std::string_view text(line, length > 0 ? static_cast<size_t>(length) : 0);
  const size_t name_end = text.rfind(") ");
  const bool running = name_end != text.npos && text.substr(name_end + 2).starts_with('R');
  MutexLock lock(mutex_);
  // It may have finished that request since, and wait for the next.
  const bool same = readers_ == 0 && received_ == request;
  return running || !same ? ServingActivity::kRunning : ServingActivity::kBlocked;
}

void ServingThreads::End(int result) {
  fuse_session_exit(session_);
  MutexLock lock(mutex_);
  if (stopping_) return;
  stopping_ = true;
  result_ = result;
  reader_needed_.NotifyAll();
  watch_wanted_.NotifyAll();
}

}  // namespace tandem::fs
