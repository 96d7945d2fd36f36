// Tells systemd that the program is ready, that it is stopping, and, if its unit wants a watchdog,
// that it is alive (sd_notify(3), Type=notify). Does nothing if systemd has not started it.
//
// One thread. `is_alive` is called by a thread of its own until the destructor.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace tandem::tools {

class ServiceManager {
 public:
  // `is_alive` blocks for as long as the program is stuck.
  explicit ServiceManager(std::function<void()> is_alive);
  ~ServiceManager();

  void Ready(const std::string& status);
  void Stopping();

 private:
  class Watchdog;
  const std::function<void()> is_alive_;
  std::unique_ptr<Watchdog> watchdog_;  // null: none is wanted, or it is not ready yet
};

}  // namespace tandem::tools
