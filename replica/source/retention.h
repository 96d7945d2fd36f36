// Which changes must be kept for which replica. Any thread.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "meta/base/mutex.h"
#include "meta/tracker.h"

namespace tandem::replica {

class Retention {
 public:
  enum class Grip {
    kLoose,  // may be let go where too much has changed
    kFirm,   // while a tree is walked: to begin again would not be less
  };

  explicit Retention(meta::Tracker& tracker) : tracker_(tracker) {}

  // From now on everything after `epoch` is kept for this replica, and nothing older. The replica
  // has said that it is there: it has none of the cuts noted before.
  void Hold(const std::string& replica, Epoch epoch, Grip grip = Grip::kLoose) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    holds_[replica] = {.after = epoch, .grip = grip};
  }

  // The replica is about to be sent this cut: it stays known. The one noted before does not, unless
  // NoteCommit was called for it.
  void NoteCut(const std::string& replica, Epoch cut) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto hold = holds_.find(replica);
    if (hold != holds_.end()) hold->second.cut = cut;
  }

  // The replica may have committed the cut from now on, whether or not its answer comes through.
  void NoteCommit(const std::string& replica) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto hold = holds_.find(replica);
    if (hold != holds_.end()) hold->second.committed.insert(hold->second.cut);
  }

  // False: LetGo has dropped it, and what has changed since its cut is not known exactly.
  bool Holds(const std::string& replica) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return holds_.contains(replica);
  }

  // Changes the grip of a replica that is held; false: it is not.
  bool Regrip(const std::string& replica, Grip grip) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto hold = holds_.find(replica);
    if (hold != holds_.end()) hold->second.grip = grip;
    return hold != holds_.end();
  }

  // Where more than `most` objects and names are remembered as changed, the replica for which most
  // of that is kept is let go: memory is bounded, and comparing its tree costs no more than that
  // would. Returns which.
  std::optional<std::string> LetGo(uint64_t most) EXCLUDES(mutex_) {
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

  // Forgets what nobody holds, and cuts that no replica can be at. Where nobody holds anything,
  // first ends the epoch, so that changes do not pile up that nobody will ever ask for.
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
