// Finds out why no connection to a replica daemon comes about, as far as that can be known from
// here. nng goes on trying and does not say.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "meta/base/mutex.h"

namespace tandem::replica {

// Makes one connection of its own to a tcp:// URL and looks at what answers. Tells apart an unknown
// host, a silent host, a port that nothing listens on, and a service that is not tandemd. Of an
// ipc:// URL it only looks at the socket's file. Returns a sentence; an empty one if tandemd
// answers or nothing is known. Each step takes up to `patience`; looking up a name may take longer.
std::string WhyNoConnection(const std::string& url, std::chrono::milliseconds patience);

// Does the same in the background. Any thread.
class LinkProbe {
 public:
  explicit LinkProbe(std::string url) : shared_(std::make_shared<Shared>(std::move(url))) {}

  // Begins to look, unless it is looking already or has just looked. Does not wait.
  void Look();
  // Returns what was found last, if that was not long ago.
  std::string found() const;
  // Returns when the last look began that reached a tandemd; the clock's epoch if none did. Of an
  // ipc:// URL that cannot be known.
  CondVar::Clock::time_point reached() const;

 private:
  // Outlives the probe: looking up a name cannot be interrupted.
  struct Shared {
    explicit Shared(std::string its_url) : url(std::move(its_url)) {}
    const std::string url;
    Mutex mutex;
    bool looking GUARDED_BY(mutex) = false;
    CondVar::Clock::time_point next GUARDED_BY(mutex){};
    std::string found GUARDED_BY(mutex);
    CondVar::Clock::time_point reached GUARDED_BY(mutex){};
  };

  const std::shared_ptr<Shared> shared_;
};

}  // namespace tandem::replica
