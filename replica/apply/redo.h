// Brings tree/ and the catalog from one cut to a later one by redoing committed stages. A redo is
// repeatable: whatever a redo that was killed or failed has left behind, the next one ends in the
// same state. For this the names in the catalog stay those of the base until the end, a redo that
// fails leaves the catalog at the base, and objects are recognised by their inode. The steps:
//
//   free     Only if the last attempt found no room: removes objects that have no name in the end,
//   and
//            cuts files to their size, before anything is made.
//   gather   Moves every known object whose name changes to stage/hold/ID. Removes unknown objects
//            from the names that the stages set; an interrupted redo left them.
//   content  Makes new objects, at their name if they have one and its directory is there, else in
//            hold/. Writes data, punches holes, and gives files their size and attributes.
//   place    Moves objects from hold/ to their names.
//   remove   Removes what is still in hold/: it has no name left.
//   finish   Gives directories their attributes, deepest first, and the catalog its names and its
//   cut.
//            Writes the marker. Last releases the catalog's savepoint: from then on its changes
//            count.
//
// If an object is not found (another program took it from the tree after the commit, or the disk
// lost it), an empty one takes its place, the catalog forgets it, and the tree is at no cut: the
// source has to compare everything. An error that concerns one object alone does not stop a redo:
// the object falls short, and the catalog records that with the cut
// (replica/apply/short_objects.h).
//
// When a redo returns, nothing of it is on stable storage. The stages must stay until the
// filesystem has been synced and then the catalog kept (Catalog::Keep), in this order.
//
// One thread. replica/STORE.md describes the format of hold/.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "replica/apply/attributes_writer.h"
#include "replica/apply/catalog.h"
#include "replica/apply/foreign_edits.h"
#include "replica/apply/kept_bases.h"
#include "replica/apply/marker.h"
#include "replica/apply/plan.h"
#include "replica/apply/removal.h"
#include "replica/apply/stage.h"
#include "replica/apply/tree.h"
#include "replica/apply/written_content.h"

namespace tandem::replica {

// Where a redo works. Everything is borrowed.
struct RedoPlace {
  int volume_fd;
  int root_fd;
  int hold_fd;
  Catalog& catalog;
  Marker marker;  // of the state before the redo
  const std::atomic<bool>& stopping;
  // Collects what other programs have put into the tree. Null if an earlier redo may have put it
  // there.
  ForeignEdits* edits;
  // The last attempt found no room: step `free` runs.
  bool cramped = false;
  int stage_fd = -1;  // directory of the spare objects; -1 if there are none
  uint64_t largest_file = std::numeric_limits<int64_t>::max();  // in bytes, of the filesystem
  bool may_set_special = true;        // or what takes that right is withheld (special_attributes.h)
  KeptBases* kept = nullptr;          // takes files that are no longer needed; may be null
  WrittenContent* written = nullptr;  // what the redo writes is noted there; may be null
};

// The state that the steps of a redo share.
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
  // The objects in hold/ now. `held_order` has each of them at least once, in order of arrival.
  std::unordered_set<ObjectId> held;
  std::vector<ObjectId> held_order;
  // Names of the catalog that the plan leaves alone, and that do not lead to their object in the
  // tree. Searched for only in a tree that is at no cut, and for objects that fall short by name.
  std::vector<std::pair<EntryKey, ObjectId>> missing_names;
  // Names that already lead to their final object.
  std::unordered_set<EntryKey> present;
  // Directories whose times the redo has changed.
  std::unordered_set<ObjectId> touched;
  // Objects that, or whose content, should be in the tree or the stage, and were not found.
  std::unordered_set<ObjectId> lost;
  // Names that no object has, and that cannot be removed (StandingNames).
  std::unordered_set<EntryKey> standing;
  bool some_stood = false;  // before this redo
  // Objects that fall short with this cut, and why.
  std::unordered_map<ObjectId, ShortObjects::Row> fallen_short;

  void Hold(ObjectId object, InodeId inode) {
    tree.Held(object, inode);
    if (held.insert(object).second) held_order.push_back(object);
  }
  // Returns the name at which a new object is made at once, without hold/, or nullopt if it is not.
  Result<std::optional<EntryKey>> PlaceToMake(ObjectId object);
  // Writes the attributes, and records in the catalog which of them the object cannot, or may not,
  // have.
  Status WriteAttributes(ObjectId object, int fd, const meta::Attributes& attributes);
  // Whether the object's records are not applied from here on.
  bool IsContentShort(ObjectId object) const {
    const auto row = fallen_short.find(object);
    return row != fallen_short.end() && !row->second.by_name;
  }
  // Records the error in fallen_short if it concerns this object alone. Returns it otherwise, to
  // block the volume. `by_name`: the object's content is correct.
  Status FallShort(ObjectId object, Error error, bool by_name = false);
  // Returns the path below the root, by the final names.
  Result<std::string> FinalPathOf(ObjectId object);
  // Removes the object at this name, with everything below it, as RemoveAll does; or keeps it, if
  // it was the replica's and may be of use.
  Status RemoveOrKeep(int directory_fd, const std::string& name, const Rescue& rescue,
                      const Census& census = {});
  // Reports that an object at this name was not the replica's and is removed.
  Status ReportStranger(ObjectId directory, const std::string& name) const;
  Status CheckStopping() const {
    if (!place.stopping) return {};
    return MakeError(ErrorKind::kCancelled, "apply a cut (stopping)", ECANCELED);
  }
};

// Redoes `stages`, which are committed and in order, each based on the one before, the first on the
// catalog's cut. Returns the cut that the tree is at then: that of the last stage, or "nowhere" if
// something was lost. `plan` may have been made before: if it is not of these stages, or null,
// another is made.
Result<AppliedCut> Redo(const RedoPlace& place, const std::vector<std::shared_ptr<Stage>>& stages,
                        std::unique_ptr<Plan> plan, Notices& notices);

}  // namespace tandem::replica
