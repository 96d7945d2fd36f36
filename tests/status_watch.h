// Holds what `tandem status` says of replicas, again and again, against what is on their disks.
// A counter in the mount is raised every few milliseconds; what status says of a replica at any
// moment implies how far the counter must have got there, and the replica's file is read
// afterwards.
//
// Used by the test's own thread; the others are its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "tests/daemons.h"
#include "tests/process.h"

namespace tandem::test {

class StatusWatch {
 public:
  // How long after a link has failed status may still call the replica behind it current, and how
  // long after its return "connecting".
  static constexpr seconds kNoticedWithin{5};
  static constexpr seconds kBackWithin{5};

  // Makes the counter in the mount. `volumes` are the replicas' directories STORE/VOLUME, in the
  // order of status.
  StatusWatch(Mount& mount, std::vector<std::string> volumes);
  ~StatusWatch();

  // Begins: all replicas must have the counter, and be reachable.
  void Begin();
  // Stops, and expects that status has told no lie.
  void End();

  // What the test is about to do to a link, or has just undone. Of one that is
  // unsteady, or whose daemon is killed, no state is expected.
  enum class LinkState { kUp, kUnsteady, kKilled, kDown };
  void SetLink(size_t replica, LinkState state) EXCLUDES(mutex_);

 private:
  struct Link {
    LinkState state = LinkState::kUp;
    Clock::time_point since = {};
    bool killed = false;  // its daemon, at some time
  };
  struct Written {
    Clock::time_point at;  // had returned by then
    uint64_t value;
  };

  void Write() EXCLUDES(mutex_);
  void Sample() EXCLUDES(mutex_);
  void Check(size_t replica, const Json& said, Clock::time_point asked) EXCLUDES(mutex_);
  void CheckProgress(size_t replica, const Json& said, Clock::time_point asked, bool killed)
      EXCLUDES(mutex_);
  void CheckState(size_t replica, const Json& said, const Link& link, Clock::duration time)
      EXCLUDES(mutex_);
  uint64_t WrittenBy(Clock::time_point time) EXCLUDES(mutex_);
  void Lie(size_t replica, const Json& said, const std::string& why) EXCLUDES(mutex_);

  Mount& mount_;
  const std::vector<std::string> volumes_;
  std::atomic<bool> stopping_{false};
  uint64_t samples_ = 0;               // the sampling thread's, until it has ended
  std::map<std::string, int> states_;  // likewise: how often each was seen
  Mutex mutex_;
  std::vector<Link> links_ GUARDED_BY(mutex_);
  std::vector<Written> written_ GUARDED_BY(mutex_);
  std::vector<std::string> lies_ GUARDED_BY(mutex_);
  std::thread writer_;
  std::thread sampler_;
};

}  // namespace tandem::test
