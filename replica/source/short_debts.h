// The source's side of objects that fall short on one replica (replica/apply/short_objects.h):
// which there are, as the replica said with its position, and when to send each whole again. The
// list lasts with the replica, which tells it at each Hello.
//
// Any thread. Nothing else is locked while the mutex is held.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/change/layer.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class ShortDebts {
 public:
  using Time = CondVar::Clock::time_point;

  bool empty() EXCLUDES(mutex_);
  // Whether this object is known to fall short.
  bool Has(const ObjectId& object) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return debts_.contains(object);
  }
  // What the replica says now takes the place of what it said before.
  void Heard(const Position& position, Time now) EXCLUDES(mutex_);
  // Returns those to be sent whole with a change set that holds `changes`. What has changed is
  // tried at once and then every few seconds; all else once a minute, as the cause may be gone on
  // the replica.
  std::vector<ShortObject> Due(const meta::Layer& changes, Time now) EXCLUDES(mutex_);
  // Returns when the first is due even if nothing has changed; nullopt: never.
  std::optional<Time> NextDue() EXCLUDES(mutex_);
  void NoteTried(const ObjectId& object, Time now) EXCLUDES(mutex_);
  // The object is not where the replica has it: the next cut says where to.
  void NoteMoved(const ObjectId& object, Time now) EXCLUDES(mutex_);
  // The object is larger than a file may be on the replica: it is tried again once it has changed.
  void NoteHopeless(const ObjectId& object) EXCLUDES(mutex_);
  // All are due: the replica may have been started with other rights, or on another filesystem.
  void TryAllAgain() EXCLUDES(mutex_);
  // For status: names one, with its path and reason, and says how many there are.
  struct Summary {
    std::string text;
    int64_t since_ns;  // BootTimeNs: since when the oldest is known
  };
  // Returns nullopt if nothing falls short.
  std::optional<Summary> Summarize() EXCLUDES(mutex_);

 private:
  struct Debt {
    ShortObject object;
    std::chrono::milliseconds patience;
    Time tried;             // or heard of first
    bool hopeless = false;  // until it changes
    bool untried = true;
  };

  Mutex mutex_;
  std::unordered_map<ObjectId, Debt> debts_ GUARDED_BY(mutex_);  // some of them
  uint64_t count_ GUARDED_BY(mutex_) = 0;                        // of all
  int64_t since_ns_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::replica
