// Finds what differs between source and replica without knowing what changed, and ships it. Used
// for seeding, reconciling, and hot directories after a crash (DESIGN section 7). It reads the live
// tree, so what it stages is of no one moment. What changes meanwhile is captured as always: the
// caller takes a cut afterwards and ships that on top.
//
// One thread.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "meta/source/source_tree.h"
#include "replica/source/list_ahead.h"
#include "replica/source/object_shipper.h"
#include "replica/source/read_ahead.h"

namespace tandem::replica {

enum class WalkDepth {
  kNewOnly,  // objects that the replica knows are skipped: their changes have marks of their own
  kAll,      // every object's attributes are compared, and every directory's names
};

class Walker {
 public:
  struct Other {
    bool is_empty;  // there is nothing to compare with, so nothing is asked
    // Content that the replica changed after this cut is compared even if the attributes are equal:
    // a power cut can take content back on the source and leave size and times.
    Epoch compare_after;
    bool is_at_no_cut = false;  // what it has may have been imported
  };
  // Objects of which something could not be read when everything was to be compared.
  using Uncompared = std::unordered_set<ObjectId>;

  // All references must outlive the walker. `keep_going` is called between objects; if it returns
  // false the walk ends with kCancelled.
  Walker(const meta::SourceTree& tree, Peer& peer, StageWriter& stage, ObjectShipper& shipper,
         Other replica, Uncompared& uncompared, std::function<bool()> keep_going)
      : tree_(tree),
        peer_(peer),
        stage_(stage),
        shipper_(shipper),
        replica_(replica),
        uncompared_(uncompared),
        keep_going_(std::move(keep_going)) {}

  // Compares the directory's names (and, with kAll, its attributes), and below it all directories
  // that the replica does not know (with kAll: all).
  Status WalkDirectory(const meta::ObjectRef& directory, WalkDepth depth);
  // Ships an object the replica lacks, and everything below it that is not in its tree either.
  // Returns false if the object cannot be read.
  Result<bool> WalkNew(const meta::ObjectRef& object);
  // Ships the attributes of an object that is damaged on the replica, and these ranges of its
  // content. Returns false if the object cannot be read.
  Result<bool> ShipDamaged(const meta::ObjectRef& object, const std::vector<ByteRange>& ranges);
  // A walk of everything misses an object that moves meanwhile from a directory still to be visited
  // to one that has been. Returns whether this may be such an object. A cut names it where it is
  // now.
  bool HasPassedBy(const ObjectId& object) const { return compares_all_ && !met_.contains(object); }
  // Compares an object that was missed, and everything below it.
  Status WalkPassedBy(const meta::ObjectRef& object);
  // Returns those that the replica does not know; none if the replica is empty.
  Result<std::vector<ObjectId>> FindUnknown(const std::vector<ObjectId>& objects);
  // One that was found to differ, and shipped as such.
  std::optional<meta::ObjectRef> FindDiffering(const ObjectId& object) const;

 private:
  struct Task {
    meta::ObjectRef directory;
    bool unknown_to_replica;
    WalkDepth depth;
    // Whether what the replica knows is taken to be there. It is not below what has been removed
    // from its tree by other programs.
    bool check_disk = false;
    // What the replica has in its place; null: nothing.
    ObjectId counterpart = {};
    // Where it was met.
    ObjectId parent = {};
    std::string name = {};
  };
  // Where a directory is met that is to be visited.
  struct Met {
    ObjectId parent;
    std::string name;
  };
  // What the replica has under the names of objects it does not know (a backup was put back, an
  // editor saved anew): their content may be found there.
  using Bases = std::unordered_map<ObjectId, ObjectId>;
  static Bases BasesOf(const std::vector<meta::SourceEntry>& ours,
                       const std::vector<Listed>& theirs);

  Status Run();
  ListAhead::Wanted WantedOf(const Task& task) const;
  Status Visit(const Task& task);
  Status VisitPage(const Task& task, ListAhead::Page& page);
  // Has the replica give imported objects that stand for those in `ours` their ids, and changes
  // `theirs` likewise.
  Status RekeyImported(const Task& task, const meta::SourceObject& directory,
                       const meta::SourceListing& ours, std::vector<Listed>& theirs);
  // `theirs` is what the replica has under the names in `ours`.
  Status CompareNames(const Task& task, const meta::SourceListing& ours,
                      const std::vector<Listed>& theirs);
  // `known` is what the replica has of the page's entries.
  Status CompareObjects(const Task& task, const ListAhead::Page& page,
                        const std::vector<Listed>& known, const Bases& bases);
  void BeginReading(const Task& task, const ListAhead::Page& page,
                    const std::vector<Listed>& known);
  // Notes that the directory, or what some of its names lead to, cannot be read.
  void NoteUnreadable(const Task& task, const std::string& why);
  // How an object that is to be shipped was opened: by what is known of it, or as it was listed.
  // Null: it is gone.
  using Opened = ReadAhead::Opened;
  Opened Open(const meta::ObjectRef& object) const;
  // All the same as `like`, but for the object and what the replica has in its place.
  Result<bool> ShipNew(const meta::ObjectRef& object, Opened found, const Task& like,
                       ObjectId basis, const Met& met = {});
  // And, of a directory, has everything below it compared.
  Status ShipDifference(const meta::ObjectRef& object, Opened found, const Listed& theirs,
                        const Met& met = {});
  Status ShipIfDifferent(const meta::ObjectRef& object, const meta::Attributes& ours,
                         const Listed& theirs, const Met& met);
  // Notes that an object that was to be compared cannot be read.
  Status NoteUncompared(const meta::ObjectRef& object, const Error& error);
  // Returns what the replica has under names of the page that are ours too, from its catalog.
  // Nothing is remembered of the others, however many there are: `other` is called with each.
  // Requires page.theirs, and takes it.
  Result<std::vector<Listed>> NamesOnReplica(
      ListAhead::Page& page, const std::function<Status(const std::string&)>& other);
  Result<std::vector<Listed>> FindOnReplica(const std::vector<ObjectId>& objects,
                                            Origin origin = Origin::kDatabase);
  // What the replica has of the entries. `theirs` is what it has under their names.
  Result<std::vector<Listed>> FindKnown(const Task& task,
                                        const std::vector<meta::SourceEntry>& entries,
                                        const std::vector<Listed>& theirs);

  const meta::SourceTree& tree_;
  Peer& peer_;
  StageWriter& stage_;
  ObjectShipper& shipper_;
  const Other replica_;
  Uncompared& uncompared_;
  const std::function<bool()> keep_going_;
  ReadAhead ahead_{tree_};
  ListAhead lists_{tree_, peer_.session(), tree_.by_names() == nullptr};
  std::deque<Task> tasks_;
  size_t listed_ = 0;  // so many of them, from the front, are wanted of lists_
  // Objects with several names are met several times.
  std::unordered_set<ObjectId> shipped_links_;
  std::unordered_map<ObjectId, FileHandle> differing_;
  // From the first walk of everything on, if there is something to compare with.
  bool compares_all_ = false;
  std::unordered_set<ObjectId> met_;  // then
};

}  // namespace tandem::replica
