// What the web page shows: asks all mounts for their status once a second while somebody watches or
// a verify runs, and gives what they answered to all threads that wait for it.
//
// A mount is known to the page by an id, the name of its control socket, so that no path comes from
// the browser.
//
// Any thread. It starts a thread, which ends with it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "tools/mount_survey.h"
#include "tools/web/verify_watch.h"

namespace tandem::tools {

class Hub {
 public:
  using Clock = std::chrono::steady_clock;
  using FindMounts = std::function<Result<std::vector<SurveyedMount>>()>;

  struct Snapshot {
    uint64_t number = 0;
    std::string json;  // one line
  };

  explicit Hub(FindMounts find_mounts);
  ~Hub();
  // Wakes all waiting threads; they get nothing more.
  void Stop();

  // Counts as somebody who watches, as long as it lives.
  class Watcher {
   public:
    explicit Watcher(Hub& hub) : hub_(hub) { hub_.Count(1); }
    ~Watcher() { hub_.Count(-1); }
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;
    // Waits for a snapshot that this one has not returned yet. Returns null at the deadline, and
    // after Stop.
    std::shared_ptr<const Snapshot> Next(Clock::time_point deadline);

   private:
    Hub& hub_;
    uint64_t seen_ = 0;
  };

  bool is_stopping();
  // Makes the next snapshot at once.
  void Refresh();
  // Returns the control socket of a mount. Fails with kUsage if there is none of that id.
  Result<std::string> SocketOf(const std::string& id) const;
  VerifyWatch& verifies() { return verifies_; }

 private:
  void Count(int change);
  void Run();
  bool AwaitTurn();
  Json Poll();

  const FindMounts find_mounts_;
  const std::string host_;
  VerifyWatch verifies_;
  std::set<std::string> dead_;  // sockets of mounts; used by the thread only

  Mutex mutex_;
  CondVar wake_;   // of the thread
  CondVar ready_;  // of those who wait
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool refresh_ GUARDED_BY(mutex_) = false;
  int watchers_ GUARDED_BY(mutex_) = 0;
  Clock::time_point next_ GUARDED_BY(mutex_){};
  uint64_t number_ GUARDED_BY(mutex_) = 0;
  std::shared_ptr<const Snapshot> newest_ GUARDED_BY(mutex_);  // null while nobody watches
  std::thread thread_;
};

// Returns the mounts whose control sockets are in `directory`, for tests.
Result<std::vector<SurveyedMount>> MountsBySockets(const std::string& directory);

}  // namespace tandem::tools
