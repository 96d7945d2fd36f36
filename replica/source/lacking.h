// What the cut a replica is at lacks, because the source's disk did not give it, until a later cut
// brings it: a write may have replaced what could not be read, or it is tried again and can be read
// by then (Tracker::Defer). Told by what the cuts name, whoever caused it.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "meta/change_set.h"
#include "meta/layer.h"

namespace tandem::replica {

class Lacking {
 public:
  struct Lack {
    meta::ObjectChange change;  // what of the object
    std::string text;           // for people
    int64_t since_ns;           // BootTimeNs
  };

  bool empty() const { return lacks_.empty(); }
  const std::unordered_map<ObjectId, Lack>& lacks() const { return lacks_; }

  // A stage is begun: what the one before held, and was not applied, does not count.
  void BeginStage() { staged_.clear(); }
  // The stage holds everything, as a walk finds it.
  void StageAll();
  // The stage holds a cut.
  void Stage(const meta::Layer& changes);
  // But for this.
  void NoteUnreadable(const ObjectId& object, const meta::ObjectChange& change, std::string text);
  // The replica has applied the stage. Returns what lacks nothing any more.
  std::vector<ObjectId> StageApplied();

 private:
  std::unordered_map<ObjectId, Lack> lacks_;
  std::unordered_map<ObjectId, meta::ObjectChange> staged_;  // of what lacks something
};

}  // namespace tandem::replica
