// What happens to a mount, for programs that follow it (tandem events): a bounded queue of JSON
// objects, each with a number that rises by one, "time" (seconds since 1970) and "event":
//   state   a replica's state has changed: "replica", "state", "before", "error"
//   lag     a replica has fallen behind by more than the threshold, or has caught up: "replica",
//           "lag_seconds", "over" (true or false)
//   verify  a verify has ended: "replica", "differences", "failure"
//   replica the set of replicas has changed: "replica", "change" (added, removed)
// The oldest are dropped beyond kMost.
//
// Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "replica/source/replica_status.h"

namespace tandem::tools {

class Events {
 public:
  static constexpr size_t kMost = 1000;
  static constexpr double kLagThreshold = 60;

  // Adds an event. `event` has all but its number and time.
  void Add(nlohmann::json event) EXCLUDES(mutex_);
  // Compares the replicas with what they were before, and adds what has changed.
  void Observe(const std::vector<replica::ReplicaStatus>& statuses) EXCLUDES(mutex_);

  struct Read {
    std::vector<nlohmann::json> events;
    uint64_t next = 0;  // to be given to the next call
    bool stopped = false;
  };
  // Returns the events from number `from` on. If there are none, waits for one until the deadline.
  Read Wait(uint64_t from, CondVar::Clock::time_point deadline) EXCLUDES(mutex_);
  // The number that the next event gets.
  uint64_t next() EXCLUDES(mutex_);
  // Wakes all that wait. They return at once from now on.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Seen {
    replica::ReplicaState state;
    bool is_late = false;
  };
  void AddLocked(nlohmann::json event) REQUIRES(mutex_);

  Mutex mutex_;
  CondVar added_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  uint64_t first_ GUARDED_BY(mutex_) = 1;  // number of the oldest
  std::deque<nlohmann::json> events_ GUARDED_BY(mutex_);
  std::map<std::string, Seen> seen_ GUARDED_BY(mutex_);
};

}  // namespace tandem::tools
