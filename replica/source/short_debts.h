// The source's side of objects that fall short on one replica (replica/apply/short_objects.h):
// which there are, as the replica said with its position, and when to send each whole again. The
// list lasts with the replica, which tells it at each Hello.
//
// Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/layer.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class ShortDebts {
 public:
  using Time = CondVar::Clock::time_point;

  bool empty() const { return count_ == 0; }
  // What the replica says now takes the place of what it said before.
  void Heard(const Position& position, Time now);
  // Those to be sent whole with a change set that holds `changes`: what changed is tried at once,
  // and then after seconds; all else, as the cause may be gone on the replica, after a minute.
  std::vector<ShortObject> Due(const meta::Layer& changes, Time now) const;
  // Something is due even if nothing has changed.
  bool IsAnyDue(Time now) const;
  void NoteTried(const ObjectId& object, Time now);
  // It is not where the replica has it: the next cut says where to.
  void NoteMoved(const ObjectId& object, Time now);
  // It is no use before it has changed: it is larger than a file may be there.
  void NoteHopeless(const ObjectId& object);
  // The replica may have been started with other rights, on another filesystem.
  void TryAllAgain();
  // For status: names one, with its path and reason, and says how many there are.
  std::string ToString() const;
  // Since when the oldest of them is known. Called if there are any.
  int64_t since_ns() const { return since_ns_; }

 private:
  struct Debt {
    ShortObject object;
    std::chrono::milliseconds patience;
    Time tried;             // or heard of first
    bool hopeless = false;  // until it changes
    bool untried = true;
  };

  std::unordered_map<ObjectId, Debt> debts_;
  uint64_t count_ = 0;
  int64_t since_ns_ = 0;  // BootTimeNs
};

}  // namespace tandem::replica
