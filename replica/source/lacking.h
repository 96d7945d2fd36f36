// What the replica's cut lacks because it could not be read from the source. A later cut brings it:
// a write may have replaced what could not be read, or it is tried again and can be read
// by then (Tracker::Defer). Only what the cuts name decides, not what caused it.
//
// Any thread. Nothing else is locked while the mutex is held.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/change/change_set.h"
#include "meta/change/layer.h"

namespace tandem::replica {

class Lacking {
 public:
  bool empty() EXCLUDES(mutex_);
  // Whether something of this object is lacking.
  bool Has(const ObjectId& object) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return lacks_.contains(object);
  }
  // For status: names one of them, with what it lacks and why, and says how many there are.
  struct Summary {
    std::string text;
    int64_t since_ns;  // BootTimeNs, of the oldest
  };
  // Returns nullopt if nothing is lacking.
  std::optional<Summary> Summarize() EXCLUDES(mutex_);

  // A stage begins. What the one before held counts only if StageApplied was called for it.
  void BeginStage() EXCLUDES(mutex_);
  // The stage holds everything, as a walk finds it.
  void StageAll() EXCLUDES(mutex_);
  // The stage holds this cut.
  void Stage(const meta::Layer& changes) EXCLUDES(mutex_);
  // The stage does not hold `change` of the object, which could not be read. `text` says so to
  // people.
  void NoteUnreadable(const ObjectId& object, const meta::ObjectChange& change, std::string text)
      EXCLUDES(mutex_);
  // The replica has applied the stage. Returns the objects that lack nothing any more.
  std::vector<ObjectId> StageApplied() EXCLUDES(mutex_);

 private:
  struct Lack {
    meta::ObjectChange change;  // what of the object
    std::string text;
    int64_t since_ns;
  };

  Mutex mutex_;
  std::unordered_map<ObjectId, Lack> lacks_ GUARDED_BY(mutex_);
  // What the stage holds of objects that lack something.
  std::unordered_map<ObjectId, meta::ObjectChange> staged_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
