// Why no connection to a replica daemon comes about, as far as it can be known from here. nng tries
// again and again, and does not say.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "meta/base/mutex.h"

namespace tandem::replica {

// Makes one connection of its own to a tcp:// URL, and looks at what answers: tells apart a host
// that is unknown, one that is silent, a port nobody listens on, and a service that is no tandemd.
// Of an ipc:// URL it only looks at the socket's file. A sentence; empty: a tandemd answers, or
// nothing is known. Each step takes up to `patience`, but for looking up a name, which may take
// longer.
std::string WhyNoConnection(const std::string& url, std::chrono::milliseconds patience);

// Finds that out in the background. Any thread.
class LinkProbe {
 public:
  explicit LinkProbe(std::string url) : shared_(std::make_shared<Shared>(std::move(url))) {}

  // Begins to look, unless it is looking or has looked just now. Does not wait.
  void Look();
  // What was found last, if that was not long ago.
  std::string found() const;
  // When it last began to look and then reached a tandemd; the epoch: never. Of an ipc:// URL that
  // cannot be known.
  CondVar::Clock::time_point reached() const;

 private:
  // Outlives the probe: looking up a name cannot be ended.
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
