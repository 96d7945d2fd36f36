// Watches the link to one replica on a thread of its own, while the sender's thread waits for
// answers: it asks the replica for a sign of life when nothing has been heard for a while.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "meta/base/mutex.h"
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
  bool WaitUnlessStopped(std::chrono::milliseconds time) EXCLUDES(mutex_);

  const std::string name_;
  Peer& peer_;
  bool quiet_ = false;  // has been logged; the thread's own

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::replica
