// Brings tree/ and the catalog from one cut to a later one: committed stages, redone. Repeatable:
// whatever a redo that was killed, or failed, has left behind, the next one ends in the same state.
//
// How: the names in the catalog stay those of the base until the end, and a redo that fails leaves
// the catalog at the base. Objects are recognised by their inode.
//   free     Only if the last attempt found no room: objects that have no name in the end are
//            removed where they are, and files cut to their size, before anything is made.
//   gather   Every known object whose name changes goes to stage/hold/ID. What stands at a name the
//            stages set, and is unknown, comes from a redo that was interrupted: it is removed.
//   content  New objects are made in hold/; data is written, holes are punched, files get their
//            size and attributes.
//   place    Objects go from hold/ to their names.
//   remove   What is still in hold/ has no name left.
//   finish   Directories get their attributes, deepest first; the catalog its names and its cut.
//            The marker says so; what the catalog got counts from then on.
// If something was not to be found (somebody took it from the tree after the commit, a disk lost
// it), an empty one stands for it, the catalog forgets it, and the tree is at no cut: the source
// has to compare everything.
// What one object alone makes impossible does not stop a redo: the object falls short, which the
// catalog notes with the cut (replica/apply/short_objects.h).
// Nothing of it is on stable storage then: the stages have to stay until the filesystem was synced
// and the catalog kept (Catalog::Keep), in that order.
// One thread. Format of what is in hold/: replica/STORE.md.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "replica/apply/attributes_writer.h"
#include "replica/apply/catalog.h"
#include "replica/apply/foreign_edits.h"
#include "replica/apply/marker.h"
#include "replica/apply/plan.h"
#include "replica/apply/stage.h"
#include "replica/apply/tree.h"

namespace tandem::replica {

// Where a redo works. All borrowed.
struct RedoPlace {
  int volume_fd;
  int root_fd;
  int hold_fd;
  Catalog& catalog;
  Marker marker;  // of the state before
  const std::atomic<bool>& stopping;
  // Told of what others have put into the tree. Null: it may be what a redo before has left.
  ForeignEdits* edits;
  // The last attempt found no room: what goes is removed first.
  bool cramped = false;
  int stage_fd = -1;  // where spare objects are; -1: there are none
  uint64_t largest_file = std::numeric_limits<int64_t>::max();  // of the filesystem
};

// What its steps share.
struct RedoState {
  RedoState(const RedoPlace& place_in, Plan& plan_in, Notices& notices_in, Epoch epoch_in)
      : place(place_in),
        plan(plan_in),
        notices(notices_in),
        epoch(epoch_in),
        tree(place_in.root_fd, place_in.hold_fd, place_in.catalog) {}

  const RedoPlace& place;
  Plan& plan;
  Notices& notices;
  const Epoch epoch;
  Tree tree;
  // In hold/ now; `held_order` names each at least once, in the order in which they came.
  std::unordered_set<ObjectId> held;
  std::vector<ObjectId> held_order;
  // Names the catalog has, and the plan leaves alone, that do not lead there in the tree. Looked
  // for only in one that is at no cut.
  std::vector<std::pair<EntryKey, ObjectId>> gone;
  // Names that already lead where they shall in the end.
  std::unordered_set<EntryKey> present;
  // Directories whose times our work has changed.
  std::unordered_set<ObjectId> touched;
  // Objects that should stand somewhere, or whose content should, and did not.
  std::unordered_set<ObjectId> lost;
  // Objects that fall short with this cut, and why.
  std::unordered_map<ObjectId, ShortObjects::Row> fallen_short;

  void Hold(ObjectId object, InodeId inode) {
    tree.Held(object, inode);
    if (held.insert(object).second) held_order.push_back(object);
  }
  // What the object cannot have is noted in the catalog.
  Status WriteAttributes(ObjectId object, int fd, const meta::Attributes& attributes);
  // What is wrong with one object is noted in fallen_short; gives back what is everybody's trouble.
  Status FallShort(ObjectId object, Error error, bool by_name = false);
  // Below the root, as names are in the end.
  Result<std::string> FinalPathOf(ObjectId object);
  // Something stands at the name that was not the replica's, and is removed.
  Status SayStranger(ObjectId directory, const std::string& name) const;
  Status CheckStopping() const {
    if (!place.stopping) return {};
    return MakeError(ErrorKind::kCancelled, "apply a cut (stopping)", ECANCELED);
  }
};

// `stages`: committed, in order, each based on the one before, the first on the catalog's cut.
// Returns the cut the tree is at then: that of the last, or, if something was lost, none.
Result<AppliedCut> Redo(const RedoPlace& place, const std::vector<std::shared_ptr<Stage>>& stages,
                        Notices& notices);

}  // namespace tandem::replica
