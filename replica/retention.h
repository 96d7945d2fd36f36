// Which changes must be kept for which replica. Any thread.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "meta/base/mutex.h"
#include "meta/tracker.h"

namespace tandem::replica {

class Retention {
 public:
  explicit Retention(meta::Tracker& tracker) : tracker_(tracker) {}

  // From now on everything after `epoch` is kept for this replica, and nothing older.
  void Hold(const std::string& replica, Epoch epoch) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    holds_[replica] = epoch;
  }

  // Nothing is kept for this replica any more: it will be reconciled.
  void Release(const std::string& replica) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    holds_.erase(replica);
  }

  // Forgets what nobody holds. Where nobody holds anything, first ends the epoch, so that changes
  // do not pile up that nobody will ever ask for.
  Status Drop() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (holds_.empty()) {
      ASSIGN_OR_RETURN(const auto cut, tracker_.TakeCut(tracker_.open_epoch()));
      (void)cut;
    }
    Epoch oldest = Epoch(tracker_.open_epoch().number() - 1);
    for (const auto& [replica, epoch] : holds_) oldest = std::min(oldest, epoch);
    return tracker_.DropThrough(oldest);
  }

 private:
  meta::Tracker& tracker_;
  Mutex mutex_;
  std::map<std::string, Epoch> holds_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
