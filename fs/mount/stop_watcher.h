// Waits for the wish to stop, SIGTERM or SIGINT (fs/mount/stop_signals.h) or a call of Request, and
// then calls a function once, on a thread of its own: so that what stopping takes may take its
// time.
//
// Start and Finish belong to one thread; Request may be called from any, at any time.
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

  // A wish that came before Start is heard as well.
  Status Start(std::function<void()> stop);
  // Ends the watching, having waited for `stop` if that is running.
  void Finish();

 private:
  StopWatcher(UniqueFd requests, UniqueFd finish, UniqueFd signals)
      : requests_(std::move(requests)), finish_(std::move(finish)), signals_(std::move(signals)) {}
  void Watch(const std::function<void()>& stop);
  bool SignalSaysStop();

  const UniqueFd requests_;  // eventfd
  const UniqueFd finish_;    // eventfd
  const UniqueFd signals_;   // signalfd
  std::thread thread_;
};

}  // namespace tandem::fs
