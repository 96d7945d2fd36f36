#include "tools/key_renewal.h"

#include "meta/base/log.h"

namespace tandem::tools {

KeyRenewal::KeyRenewal(Options options) : options_(std::move(options)) {
  thread_ = std::thread([this] { Run(); });
}

KeyRenewal::~KeyRenewal() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  options_.cancel();
  if (thread_.joinable()) thread_.join();
}

void KeyRenewal::Run() {
  for (;;) {
    for (const std::string& url : options_.list_urls()) {
      if (!url.starts_with("tls://")) continue;
      {
        MutexLock lock(mutex_);
        if (stopping_) return;
      }
      Ask(url);
    }
    MutexLock lock(mutex_);
    const auto deadline = CondVar::Clock::now() + options_.every;
    while (!stopping_ && stop_.WaitUntil(mutex_, deadline)) {
    }
    if (stopping_) return;
  }
}

void KeyRenewal::Ask(const std::string& url) {
  const auto renewed = RenewIfAsked(url, options_.keys, options_.ask);
  if (renewed && *renewed) options_.renewed(url);
  // Replication says what is wrong with the connection; what is wrong with the files is said here.
  if (renewed || renewed.error().kind() == ErrorKind::kUnreachable ||
      renewed.error().kind() == ErrorKind::kCancelled) {
    return;
  }
  LogWarning("the key for {} cannot be renewed: {}", url, renewed.error().ToString());
}

}  // namespace tandem::tools
