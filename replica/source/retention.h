// Knows which changes must be kept for which replica, and drops the others.
//
// Any thread. Lock order: mutex_ before those of the tracker.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "meta/base/mutex.h"
#include "meta/capture/tracker.h"

namespace tandem::replica {

class Retention {
 public:
  enum class Grip {
    kLoose,  // the hold may be released if too much has changed
    kFirm,   // not while a tree is walked: walking it again would cost no less
  };

  explicit Retention(meta::Tracker& tracker) : tracker_(tracker) {}

  // From now on keeps everything after `epoch` for this replica, and nothing older. The replica has
  // said that it is at `epoch`: it has none of the cuts noted before.
  void Hold(const std::string& replica, Epoch epoch, Grip grip = Grip::kLoose) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    holds_[replica] = {.after = epoch, .grip = grip};
  }

  // The replica is about to be sent this cut, which therefore stays known. The cut noted before
  // does not, unless NoteCommit was called for it.
  void NoteCut(const std::string& replica, Epoch cut) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto hold = holds_.find(replica);
    if (hold != holds_.end()) hold->second.cut = cut;
  }

  // From now on the replica may have committed the cut, whether or not its answer arrives.
  void NoteCommit(const std::string& replica) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto hold = holds_.find(replica);
    if (hold != holds_.end()) hold->second.committed.insert(hold->second.cut);
  }

  // The replica is removed: nothing is kept for it any more.
  void Release(const std::string& replica) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    holds_.erase(replica);
  }

  // The replica has another name.
  void Rename(const std::string& replica, const std::string& name) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    auto hold = holds_.extract(replica);
    if (hold.empty()) return;
    hold.key() = name;
    holds_.insert(std::move(hold));
  }

  // Returns false if ReleaseFurthestBehind has released the hold: what has changed since the
  // replica's cut is no longer known exactly.
  bool Holds(const std::string& replica) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return holds_.contains(replica);
  }

  // Changes how firm the hold is. Returns false if there is none.
  bool Regrip(const std::string& replica, Grip grip) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto hold = holds_.find(replica);
    if (hold != holds_.end()) hold->second.grip = grip;
    return hold != holds_.end();
  }

  // Returns whether anything, or at least half of `most` objects and names are remembered as
  // changed.
  bool HasAny() { return tracker_.Weight() != 0; }
  bool IsNearly(uint64_t most) { return tracker_.Weight() >= most / 2; }
  // If more than `most` objects and names are remembered as changed, releases the hold of the
  // replica for which most of them are kept, and returns its name. So memory is bounded; comparing
  // its tree costs no more than sending so many changes.
  std::optional<std::string> ReleaseFurthestBehind(uint64_t most) EXCLUDES(mutex_) {
    if (tracker_.Weight() <= most) return std::nullopt;
    MutexLock lock(mutex_);
    auto furthest = holds_.end();
    for (auto hold = holds_.begin(); hold != holds_.end(); ++hold) {
      if (furthest == holds_.end() || hold->second.after < furthest->second.after) furthest = hold;
    }
    if (furthest == holds_.end() || furthest->second.grip == Grip::kFirm) return std::nullopt;
    const std::string replica = furthest->first;
    holds_.erase(furthest);
    return replica;
  }

  // Forgets what is kept for no replica, and cuts that no replica can be at. If nothing is kept for
  // any, first ends the epoch, so that changes do not pile up that are never sent.
  Status Drop() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (holds_.empty()) {
      ASSIGN_OR_RETURN(const auto cut, tracker_.TakeCut(tracker_.open_epoch()));
      (void)cut;
    }
    Epoch oldest = Epoch(tracker_.open_epoch().number() - 1);
    std::set<Epoch> named;
    for (const auto& [replica, held] : holds_) {
      oldest = std::min(oldest, held.after);
      named.insert({held.after, held.cut});
      named.insert(held.committed.begin(), held.committed.end());
    }
    RETURN_IF_ERROR(tracker_.DropThrough(oldest));
    return tracker_.ForgetCutsBut(named);
  }

 private:
  struct Held {
    Epoch after;
    Grip grip = Grip::kLoose;
    Epoch cut = {};
    std::set<Epoch> committed = {};
  };

  meta::Tracker& tracker_;
  Mutex mutex_;
  std::map<std::string, Held> holds_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
