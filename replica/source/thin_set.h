// What of a cut makes room on a replica whose disk is full, and nothing else: names that are gone,
// names that lead to other objects the replica knows (and to new directories, if those stand in
// them), files that were cut short. If the cut does not fit, this is sent ahead of it as a set of
// no moment (replica/PROTOCOL.md, Sets of no moment). New content, and what stands where new
// content is to come, is left out: until the cut fits, the older version is all the replica has.
//
// One thread.
#pragma once

#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "meta/capture/frozen_cut.h"
#include "replica/source/stage_writer.h"

namespace tandem::replica {

class ThinSet {
 public:
  // Both must outlive it.
  ThinSet(meta::FrozenCut& cut, StageWriter& stage) : cut_(cut), stage_(stage) {}

  // Whether anything in the cut may make room. The replica may know better.
  static bool MayMakeRoom(const meta::Layer& changes);

  Status Ship();
  // Takes back all names that lead to these objects, which the replica lacks. Returns false if
  // there were none.
  Result<bool> TakeNamesBack(const std::vector<ObjectId>& objects);

 private:
  Status ShipDirectories();
  Status ShipNames(const ObjectId& directory, const meta::ObjectChange& change);
  Status ShipSize(const ObjectId& file, const meta::ObjectChange& change);
  bool IsNew(const ObjectId& object);

  meta::FrozenCut& cut_;
  StageWriter& stage_;
  std::unordered_set<ObjectId> new_directories_;
  std::unordered_map<ObjectId, std::vector<EntryKey>> names_;  // that were shipped
};

}  // namespace tandem::replica
