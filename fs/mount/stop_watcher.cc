#include "fs/mount/stop_watcher.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <exception>
#include <system_error>

#include "fs/mount/stop_signals.h"
#include "meta/base/log.h"

namespace tandem::fs {

Result<std::unique_ptr<StopWatcher>> StopWatcher::Create() {
  const sigset_t set = StopSignals::Set();
  UniqueFd requests(eventfd(0, EFD_CLOEXEC));
  UniqueFd finish(eventfd(0, EFD_CLOEXEC));
  UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!requests.valid() || !finish.valid() || !signals.valid()) {
    return ErrnoError("create the descriptors for stop signals");
  }
  return std::unique_ptr<StopWatcher>(
      new StopWatcher(std::move(requests), std::move(finish), std::move(signals)));
}

void StopWatcher::Request() { eventfd_write(requests_.get(), 1); }

Status StopWatcher::Start(std::function<void()> stop, std::function<void()> reload) {
  const auto watch = [this, stop = std::move(stop), reload = std::move(reload)] {
    try {
      Watch(stop, reload);
    } catch (const std::exception& e) {
      LogError("exception while stopping: {}", e.what());
    }
  };
  try {
    thread_ = std::thread(watch);
  } catch (const std::system_error& e) {
    return ErrnoError(e.code().value(), "start the thread that waits for signals");
  }
  return {};
}

void StopWatcher::Finish() {
  if (!thread_.joinable()) return;
  eventfd_write(finish_.get(), 1);
  thread_.join();
}

void StopWatcher::Watch(const std::function<void()>& stop, const std::function<void()>& reload) {
  pollfd watched[] = {
      {finish_.get(), POLLIN, 0}, {requests_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
  while (true) {
    if (poll(watched, std::size(watched), -1) < 0) {
      if (errno == EINTR) continue;
      LogError("{}", ErrnoError("wait for signals").value().ToString());
      return;
    }
    if (watched[0].revents != 0) return;
    if (watched[1].revents != 0 || IsStopSignal(reload)) return stop();
  }
}

bool StopWatcher::IsStopSignal(const std::function<void()>& reload) {
  signalfd_siginfo signal;
  if (read(signals_.get(), &signal, sizeof signal) != sizeof signal) return false;
  if (signal.ssi_signo == SIGHUP) {
    if (reload != nullptr) reload();
    return false;
  }
  LogInfo("signal {}: stopping", signal.ssi_signo);
  return true;
}

}  // namespace tandem::fs
