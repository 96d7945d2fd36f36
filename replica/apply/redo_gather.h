// The first step of a redo; see replica/apply/redo.h. Afterwards every known object that has to
// move is in hold/, and nothing unknown stands where a name is to be set.
#pragma once

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "replica/apply/redo.h"

namespace tandem::replica {

class Gatherer {
 public:
  explicit Gatherer(RedoState& state) : state_(state) {}
  // First: what a redo that did not end has left in hold/.
  Status CleanHold();
  Status Run();

 private:
  using Names = std::unordered_set<std::string>;

  Status CollectPlaces();
  Status CollectNamesOf(ObjectId object);
  Status VisitPlaces();
  Result<bool> VisitDirectory(ObjectId directory, const Names& names);
  Status VisitName(ObjectId directory, int directory_fd, const std::string& name);
  Status SayIfStrange(ObjectId directory, const std::string& name, InodeId inode);
  Status HoldKnown(ObjectId object, InodeId inode, int directory_fd, const std::string& name);
  Result<bool> RescueIfKnown(int directory_fd, const std::string& name);
  // The object for which the inode stands, and is to go on standing.
  Result<ObjectId> LastingObjectOf(InodeId inode);
  // False: there was nothing left to search.
  Result<bool> FindStrangers();
  void NoteGone(EntryKey key, ObjectId child);
  Status FindGoneFrom(ObjectId directory, const std::vector<std::string>& names);
  Status FindStrangersIn(ObjectId directory, int directory_fd, std::deque<ObjectId>& known);
  Status FindShortNames();
  Status LinkMissingNames();
  Status HoldLink(ObjectId object);

  RedoState& state_;
  // Names at which something may have to go, by directory.
  std::unordered_map<ObjectId, Names> places_;
  std::unordered_set<ObjectId> collected_;
  std::unordered_set<ObjectId> searched_;  // for strangers
};

}  // namespace tandem::replica
