#include "tools/service_manager.h"

#include <systemd/sd-daemon.h>

#include <chrono>
#include <cstdint>

namespace tandem::tools {
namespace {

// systemd ends the unit if it hears nothing for the whole time.
constexpr uint64_t kSignsOfLife = 3;

}  // namespace

void ServiceManager::Ready(const std::string& status) {
  sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
  uint64_t microseconds = 0;
  if (sd_watchdog_enabled(0, &microseconds) <= 0) return;
  watchdog_.emplace(std::chrono::microseconds(microseconds / kSignsOfLife), [this] {
    is_alive_();
    sd_notify(0, "WATCHDOG=1");
  });
}

// The end is bounded by the unit's TimeoutStopSec.
void ServiceManager::Stopping() {
  watchdog_.reset();
  sd_notify(0, "STOPPING=1");
}

}  // namespace tandem::tools
