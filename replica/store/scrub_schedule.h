// Scrubs each volume of a store once in a given time, one after another, on a thread of its own.
//
// A volume that has never been scrubbed is due at a time after its making that depends on its name,
// so that the volumes of a store are spread over the whole time. The results are logged. When a
// volume was scrubbed last is in its catalog (DamagedObjects::ScrubbedAt).
//
// Borrows the store and the jobs, which outlive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <thread>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/store/scrub_jobs.h"
#include "replica/store/store.h"

namespace tandem::replica {

class ScrubSchedule {
 public:
  struct Options {
    std::chrono::seconds every;
    ScrubOptions scrub = {};
  };

  ScrubSchedule(Store& store, ScrubJobs& jobs, const Options& options);
  // Stops the scrub under way.
  ~ScrubSchedule();

  // Returns when a volume is due, in seconds since 1970: `made` is when it was made.
  static int64_t DueAt(const VolumeKey& key, int64_t made, std::optional<int64_t> scrubbed,
                       std::chrono::seconds every);

 private:
  void Run();
  // Returns after how many seconds a volume is tried again that could not be opened or scrubbed.
  int64_t RetryTime() const;
  // Returns the volume that has been due longest, or nullopt if none is due. It has to open a
  // volume to find when it is due, and leaves some of them to the next call.
  std::optional<VolumeKey> FindDue();
  Result<int64_t> DueAt(const VolumeKey& key);
  // Returns whether it got to its end.
  bool Scrub(const VolumeKey& key);
  // Returns false after the destructor has begun.
  bool Sleep(CondVar::Clock::duration time) EXCLUDES(mutex_);

  Store& store_;
  ScrubJobs& jobs_;
  const Options options_;
  // In seconds since 1970; used by the thread alone.
  std::map<VolumeKey, int64_t> due_;
  std::map<VolumeKey, int64_t> look_again_;  // of those that could not be opened
  bool has_more_ = false;                    // of which it is not known when they are due

  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::replica
