#include "tools/service_manager.h"

#include <systemd/sd-daemon.h>

#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>

#include "meta/base/mutex.h"

namespace tandem::tools {
namespace {

// systemd ends the unit if it hears nothing for the whole time.
constexpr uint64_t kSignsOfLife = 3;

}  // namespace

class ServiceManager::Watchdog {
 public:
  Watchdog(std::chrono::microseconds every, std::function<void()> is_alive)
      : every_(every), is_alive_(std::move(is_alive)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~Watchdog() {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      stop_.NotifyAll();
    }
    thread_.join();
  }

 private:
  void Run() {
    while (true) {
      is_alive_();
      sd_notify(0, "WATCHDOG=1");
      MutexLock lock(mutex_);
      const auto next = CondVar::Clock::now() + every_;
      while (!stopping_ && stop_.WaitUntil(mutex_, next)) {
      }
      if (stopping_) return;
    }
  }

  const std::chrono::microseconds every_;
  const std::function<void()> is_alive_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

ServiceManager::ServiceManager(std::function<void()> is_alive) : is_alive_(std::move(is_alive)) {}
ServiceManager::~ServiceManager() = default;

void ServiceManager::Ready(const std::string& status) {
  sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
  uint64_t microseconds = 0;
  if (sd_watchdog_enabled(0, &microseconds) <= 0) return;
  watchdog_ =
      std::make_unique<Watchdog>(std::chrono::microseconds(microseconds / kSignsOfLife), is_alive_);
}

// The end is bounded by the unit's TimeoutStopSec.
void ServiceManager::Stopping() {
  watchdog_.reset();
  sd_notify(0, "STOPPING=1");
}

}  // namespace tandem::tools
