// Watches the link to one replica on a thread of its own, while the sender's thread waits for
// answers. It finds out whether anything is heard over the link, why no connection comes about, and
// whether the link stays silent, or without a connection, although another connection can be made.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "meta/base/mutex.h"
#include "replica/source/link_probe.h"
#include "replica/source/peer.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

class LinkWatch {
 public:
  // `peer` must outlive this. Close it before this is destroyed, or the destructor waits for its
  // request to end.
  LinkWatch(std::string name, Peer& peer);
  ~LinkWatch();

  // Returns why there is no connection, or that nothing is heard over it; an empty string if
  // nothing is known to be wrong. Any thread.
  std::string Trouble();

 private:
  void Run();
  void WatchConnection();
  void AwaitConnection();
  // Does it unless that was done a short time ago.
  void DialAnew(CondVar::Clock::time_point now);
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
