// Waits for SIGTERM, SIGINT (fs/mount/stop_signals.h) or a call of Request, and then calls a
// function once, on a thread of its own, so that the function may block. Calls another function for
// each SIGHUP before.
//
// Start and Finish belong to one thread. Request may be called by any thread at any time.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

class StopWatcher {
 public:
  static Result<std::unique_ptr<StopWatcher>> Create();
  ~StopWatcher() { Finish(); }

  void Request();

  // Starts the thread. A signal or Request that came before Start counts.
  // `reload` may be null.
  Status Start(std::function<void()> stop, std::function<void()> reload);
  // Ends the thread. Waits for `stop` if it is running.
  void Finish();

 private:
  StopWatcher(UniqueFd requests, UniqueFd finish, UniqueFd signals)
      : requests_(std::move(requests)), finish_(std::move(finish)), signals_(std::move(signals)) {}
  void Watch(const std::function<void()>& stop, const std::function<void()>& reload);
  bool IsStopSignal(const std::function<void()>& reload);

  const UniqueFd requests_;  // eventfd
  const UniqueFd finish_;    // eventfd
  const UniqueFd signals_;   // signalfd
  std::thread thread_;
};

}  // namespace tandem::fs
