// The one stage of a volume that is open, and the ids of the last attempts to fill one that ended:
// requests of them may still arrive, and must not do anything. A stage that is gone on with belongs
// to another attempt than before; one that is parked belongs to none.
//
// Any thread may call Find and IndexOf. One thread at a time makes all other calls. Takes no other
// lock.
#pragma once

#include <deque>
#include <memory>

#include "meta/base/mutex.h"
#include "replica/apply/stage.h"
#include "replica/apply/staged_index.h"
#include "replica/store/tuning.h"

namespace tandem::replica {

class StageSlot {
 public:
  using Index = std::shared_ptr<const StagedIndex>;

  // Returns the open stage if it belongs to that attempt, or null.
  std::shared_ptr<Stage> Find(CutId attempt) EXCLUDES(mutex_);
  // Returns the open stage, or null.
  std::shared_ptr<Stage> Open() EXCLUDES(mutex_);
  // Returns whether the attempt is one of the last kMaxEndedStages that have ended.
  bool HasEnded(CutId attempt) EXCLUDES(mutex_);
  // Opens `stage` for an attempt; a null one parks it. Called if none is open.
  void Put(std::shared_ptr<Stage> stage, CutId attempt) EXCLUDES(mutex_);
  // Ends the attempt, and gives the open stage to another. `index` tells what it has so far.
  void PassOn(CutId attempt, Index index) EXCLUDES(mutex_);
  // Returns what the stage had when it was passed on to this attempt. Null if the stage is another,
  // or was not.
  Index IndexOf(CutId attempt) EXCLUDES(mutex_);
  // Ends the stage that is open, and returns it, or null if none is. Its file stays.
  std::shared_ptr<Stage> End() EXCLUDES(mutex_);

 private:
  void EndAttempt() REQUIRES(mutex_);

  Mutex mutex_;
  std::shared_ptr<Stage> stage_ GUARDED_BY(mutex_);
  CutId attempt_ GUARDED_BY(mutex_);
  Index index_ GUARDED_BY(mutex_);
  std::deque<CutId> ended_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
