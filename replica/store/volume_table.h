// The volumes of a store by name, opened when they are needed and closed when nobody uses them. A
// volume whose disk is slow to open or close holds up only those who ask for that volume.
//
// Any thread. Its lock is held for no call into a volume that may wait.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/store/store_layout.h"
#include "replica/store/volume.h"

namespace tandem::replica {

class VolumeTable {
 public:
  using Time = CondVar::Clock::time_point;
  using Opener = std::function<Result<std::shared_ptr<Volume>>()>;

  // Counts a volume that exists, without opening it.
  void Note(const VolumeKey& key) EXCLUDES(mutex_);
  // Returns the volume. Calls `open`, without a lock, if it is not open; others who ask for the
  // same volume wait meanwhile, up to kMaxOpenWait, and then get kUnreachable.
  Result<std::shared_ptr<Volume>> Get(const VolumeKey& key, const Opener& open) EXCLUDES(mutex_);
  // Returns null if the volume is not open.
  std::shared_ptr<Volume> Find(const VolumeKey& key) EXCLUDES(mutex_);
  // Returns the volumes that exist.
  std::vector<VolumeKey> Keys() EXCLUDES(mutex_);
  // Returns how many volumes the account has, with those that are being made.
  size_t CountOf(const std::string& account) EXCLUDES(mutex_);
  // Closes the volumes that nobody has used since `since`, and that have nothing left to do; those
  // whose source is connected only after a further kIdleConnected, those with an open stage after
  // kIdleStage. Waits for their disks.
  void CloseIdle(Time since) EXCLUDES(mutex_);
  // Closes the volume if it is open, calls `work`, and forgets the volume if that succeeded. Nobody
  // can open it meanwhile. Returns EBUSY if it was used since `since`, or has something left to do.
  Status CloseFor(const VolumeKey& key, Time since, const std::function<Status()>& work)
      EXCLUDES(mutex_);
  // Ends waiting requests of all volumes. None is opened from then on.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Slot {
    std::shared_ptr<Volume> volume;
    bool busy = false;    // a thread opens or closes it
    bool exists = false;  // on the disk
    Time used{};
  };
  bool IsIdle(const Slot& slot) const REQUIRES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::map<VolumeKey, Slot> slots_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::replica
