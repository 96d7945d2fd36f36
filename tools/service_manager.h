// Tells systemd that the program is ready, that it is stopping, and, if its unit wants a watchdog,
// that it is alive (sd_notify(3), Type=notify). Does nothing if systemd has not started it.
//
// One thread. `is_alive` is called by a thread of its own until the destructor.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "meta/base/periodic_thread.h"

namespace tandem::tools {

class ServiceManager {
 public:
  // `is_alive` blocks for as long as the program is stuck.
  explicit ServiceManager(std::function<void()> is_alive) : is_alive_(std::move(is_alive)) {}

  void Ready(const std::string& status);
  void Stopping();

 private:
  const std::function<void()> is_alive_;
  std::optional<PeriodicThread> watchdog_;  // none is wanted, or the program is not ready yet
};

}  // namespace tandem::tools
