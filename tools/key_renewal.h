// Renews the keys of this host when a daemon's administrator wants it (tandemd account rotate):
// asks the daemons of a mount at the start and then every few minutes.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "tools/enrolment.h"

namespace tandem::tools {

class KeyRenewal {
 public:
  struct Options {
    // Returns the URLs of the daemons; only those of tls:// are asked. Called by the thread.
    std::function<std::vector<std::string>()> list_urls;
    HostKeys keys;
    AskDaemon ask;
    // Called by the destructor: ends a request under way.
    std::function<void()> cancel = [] {};
    // Called by the thread after a key was renewed. CredentialsFor(url) returns the new one.
    std::function<void(const std::string& url)> renewed = [](const std::string&) {};
    std::chrono::milliseconds every = std::chrono::minutes(10);
  };
  // Starts a thread.
  explicit KeyRenewal(Options options);
  KeyRenewal(const KeyRenewal&) = delete;
  ~KeyRenewal();

 private:
  void Run();
  void Ask(const std::string& url);

  const Options options_;
  Mutex mutex_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  CondVar stop_;
  std::thread thread_;
};

}  // namespace tandem::tools
