// The first step of a redo; see replica/apply/redo.h. Afterwards every known object that has to
// move is in hold/, and no unknown object is at a name that is to be set. One thread.
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
  // Called before Run. Cleans up what an interrupted redo has left in hold/.
  Status CleanHold();
  Status Run();

 private:
  using Names = std::unordered_set<std::string>;

  Status CollectPlaces();
  Status CollectNamesOf(ObjectId object);
  Status VisitPlaces();
  Result<bool> VisitDirectory(ObjectId directory, const Names& names);
  Status VisitName(ObjectId directory, int directory_fd, const std::string& name);
  Status ReportIfStranger(ObjectId directory, const std::string& name, InodeId inode);
  Status HoldKnown(ObjectId object, InodeId inode, int directory_fd, const std::string& name);
  Result<bool> RescueIfKnown(int directory_fd, const std::string& name);
  // Returns the object that the inode stands for, and will stand for in the end; or a null id.
  Result<ObjectId> LastingObjectOf(InodeId inode);
  // Returns false if no directory was left to search.
  Result<bool> FindStrangers();
  void NoteMissingName(EntryKey key, ObjectId child);
  Status FindMissingNamesIn(ObjectId directory, const std::vector<std::string>& names);
  // Looks for strangers in one directory, and adds to `known` what is right in it. Returns false if
  // it is not there, or cannot be read.
  Result<bool> SearchDirectory(ObjectId directory, std::deque<ObjectId>& known);
  Status FindStrangersIn(ObjectId directory, int directory_fd, std::deque<ObjectId>& known);
  Status FindShortNames();
  // Finds the objects of the plan that a scrub has found damaged.
  Status FindDamaged();
  Status NoteMissingNamesOf(ObjectId object);
  Status LinkMissingNames();
  Status HoldLink(ObjectId object);

  // ---- redo_gather_unreadable.cc ----
  Status CollectStandingNames();
  Status KeepUnvisitedStandingNames();
  Result<Tree::Directory> OpenIfReadable(ObjectId directory);
  Status LetAllStand(ObjectId directory, const Names& names, Error error);
  enum class Standing {
    kUnknown,  // it cannot be read: it may be what the catalog has there
    kAnother,  // it is not what is to be there, and cannot be moved or removed
  };
  // Leaves what is at the name, and decides what falls short for it.
  Status LetStand(const EntryKey& key, Standing standing, Error error);
  // Whether names can be noted as standing in it.
  Result<bool> MayHaveStandingNames(ObjectId directory);
  // Finds the objects that fell short and come whole now.
  Status FindRenewed();
  Status SearchRenewedDirectories();

  RedoState& state_;
  // Names to visit, by directory: an object there may have to move or be removed.
  std::unordered_map<ObjectId, Names> places_;
  std::unordered_set<ObjectId> collected_;
  std::unordered_set<ObjectId> searched_;  // for strangers
  std::vector<ObjectId> damaged_;
  std::vector<EntryKey> standing_;  // of earlier redoes
  std::vector<ShortObjects::Row> renewed_;
};

}  // namespace tandem::replica
