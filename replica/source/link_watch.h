// Watches the link to one replica, on a thread of its own, while the sender's waits for answers:
// whether anything is heard over it, why no connection comes about, and whether nng stays without
// one though there could be one.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "meta/base/mutex.h"
#include "replica/source/link_probe.h"
#include "replica/source/peer.h"

namespace tandem::replica {

class LinkWatch {
 public:
  // A connection over which nothing has come for so long is not believed to be one.
  static constexpr std::chrono::milliseconds kQuiet{4000};

  // `peer` must outlive it, and be closed before it goes, or its end is waited for.
  LinkWatch(std::string name, Peer& peer);
  ~LinkWatch();

  // Why there is no connection, or what is heard of it; empty: nothing is wrong that is known.
  // Any thread.
  std::string Trouble();

 private:
  void Run();
  void WatchConnection();
  void AwaitConnection();
  bool WaitUnlessStopped(std::chrono::milliseconds time) EXCLUDES(mutex_);

  const std::string name_;
  Peer& peer_;
  LinkProbe probe_;
  // The thread's own.
  CondVar::Clock::time_point without_since_{};  // no connection; epoch: there is one
  CondVar::Clock::time_point dialed_{};
  std::chrono::milliseconds dial_pause_;
  bool quiet_ = false;  // has been logged

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::replica
