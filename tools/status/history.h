// What the replicas of a mount were like in the last hour and day, sampled by a thread: for the lag
// plot, the rate, and the worst lag of the hour. In memory: it begins anew with each start.
//
// Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/periodic_thread.h"
#include "replica/source/replica_status.h"

namespace tandem::tools {

class History {
 public:
  static constexpr std::chrono::seconds kHourStep{10};
  static constexpr std::chrono::minutes kDayStep{5};

  struct Sample {
    int64_t time = 0;  // seconds since 1970
    double lag_seconds = 0;
    uint64_t sent_bytes = 0;  // in all
    uint64_t pending_bytes = 0;
  };
  struct OfReplica {
    std::deque<Sample> hour;  // one each kHourStep
    std::deque<Sample> day;   // one each kDayStep, with the worst lag and most pending since
  };

  using Glance = std::function<std::vector<replica::ReplicaStatus>()>;
  using Sampled = std::function<void(const std::vector<replica::ReplicaStatus>&)>;
  // `glance` is called each kHourStep, and `sampled` with what it returned.
  History(Glance glance, Sampled sampled);

  // Of the replica of this name; empty if there is none.
  OfReplica Of(const std::string& replica) EXCLUDES(mutex_);
  // Returns the bytes a second that were sent in the last minute, the worst lag of the last hour,
  // and how long the pending bytes take at that rate; negative: not known.
  struct Summary {
    double rate = 0;
    double worst_lag = 0;
    double eta = -1;
  };
  Summary Summarize(const replica::ReplicaStatus& now) EXCLUDES(mutex_);

  // Takes a sample. For tests; the thread calls it.
  void Take(const std::vector<replica::ReplicaStatus>& statuses, int64_t time) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::map<std::string, OfReplica> replicas_ GUARDED_BY(mutex_);
  PeriodicThread sampler_;  // uses the others
};

}  // namespace tandem::tools
