// The scrubs that are under way in a store, each on a thread of its own, at most one a volume.
//
// Any thread. The store is borrowed, and outlives it; call Store::Stop only after this is gone, or
// scrubs end with an error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <thread>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/store/scrubber.h"
#include "replica/store/store.h"

namespace tandem::replica {

class ScrubJobs {
 public:
  using Id = int64_t;

  explicit ScrubJobs(Store& store) : store_(store) {}
  // Stops all scrubs.
  ~ScrubJobs();

  // Returns EBUSY if the volume is being scrubbed. Scrubs whose report nobody has asked for during
  // kScrubForgotten are stopped and forgotten.
  Result<Id> Start(const VolumeKey& key, const ScrubOptions& options) EXCLUDES(mutex_);
  // Returns the report so far, with `limit` of the differences from `skip` on.
  Result<ScrubReport> Report(Id id, size_t skip, size_t limit) EXCLUDES(mutex_);
  // Stops the scrub if it is under way, and forgets its report.
  Status End(Id id) EXCLUDES(mutex_);

 private:
  struct Job {
    VolumeKey key;
    std::shared_ptr<Volume> volume;
    std::unique_ptr<Scrubber> scrubber;
    std::thread thread;
    CondVar::Clock::time_point asked;
  };
  static void Stop(Job job);

  Store& store_;
  Mutex mutex_;
  Id next_ GUARDED_BY(mutex_) = 1;
  std::map<Id, Job> jobs_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
