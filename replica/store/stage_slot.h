// The one stage of a volume that is open, and the ids of the last ones that ended: requests for
// them may still arrive, and must not do anything.
//
// Any thread may call Find. One thread at a time makes all other calls. Takes no other lock.
#pragma once

#include <deque>
#include <memory>

#include "meta/base/mutex.h"
#include "replica/apply/stage.h"
#include "replica/store/tuning.h"

namespace tandem::replica {

class StageSlot {
 public:
  // Returns null if the stage is not open.
  std::shared_ptr<Stage> Find(CutId id) EXCLUDES(mutex_);
  bool IsOpen() EXCLUDES(mutex_);
  // Returns whether the stage is one of the last kMaxEndedStages that have ended.
  bool HasEnded(CutId id) EXCLUDES(mutex_);
  // Opens `stage`. Called if none is open.
  void Put(std::shared_ptr<Stage> stage) EXCLUDES(mutex_);
  // Ends the stage that is open, and returns it, or null if none is. Its file stays.
  std::shared_ptr<Stage> End() EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::shared_ptr<Stage> stage_ GUARDED_BY(mutex_);
  std::deque<CutId> ended_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
