// What a redo has to do: the records of one or more committed stages, in order, as one change from
// the catalog's state. A plan says where each name leads in the end, which objects are made, kept
// or made anew, and which are left without a name. It does not touch the tree.
//
// One thread at a time. It refers to the catalog, whose names must not change meanwhile, and keeps
// the stages. It takes about 80 bytes for each object and 50 for each entry of the stages.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "replica/apply/catalog.h"
#include "replica/apply/planned_entries.h"
#include "replica/apply/stage.h"

namespace tandem::replica {

class Plan {
 public:
  enum class Fate : uint8_t {
    kDrop,     // no name leads to it in the end; its records are ignored
    kKeep,     // the catalog has it; it is changed in place
    kCreate,   // new
    kReplace,  // the catalog has it, but its inode is made anew (another kind, all in a file, or
               // large)
  };
  // Why the last records of an object are not applied.
  enum class Shortfall : uint8_t {
    kNone,
    kTooLarge,  // larger than the replica's filesystem allows
    kAsBefore,  // it fell short before, and no whole record came
  };
  struct Object {
    // Positions count the records of all stages, from 1. Records before `whole` are ignored (0:
    // none is). After `last` the object is complete, and later records are ignored because it falls
    // short (0: all are).
    uint64_t whole = 0;
    uint64_t last = 0;
    uint64_t last_data = 0;               // of a data record; 0: there is none
    meta::Kind kind = meta::Kind::kFile;  // of the last record
    bool has_record = false;
    Fate fate = Fate::kDrop;
    Shortfall shortfall = Shortfall::kNone;
    bool made_in_place = false;  // by the redo: at its only name, without hold/
    bool in_file = false;        // a staged file has all the content that its stage gives it
  };
  // The staged file of an object.
  struct StagedFile {
    const Stage* stage = nullptr;
    InodeId inode = {};
    uint64_t position = 0;
  };

  // Returns kProtocol if the stages contradict themselves (a directory with two names, or inside
  // itself; an object of another kind without a whole record; content of what is no file).
  // `largest_file` is the largest file, in bytes, that the replica's filesystem allows.
  static Result<std::unique_ptr<Plan>> Make(
      const std::vector<std::shared_ptr<Stage>>& stages, Catalog& catalog,
      uint64_t largest_file = std::numeric_limits<int64_t>::max());

  // Returns whether Make would return the same for these stages, with the catalog as it is now.
  bool IsOf(const std::vector<std::shared_ptr<Stage>>& stages) const {
    return stages_ == stages && generation_ == catalog_.generation();
  }

  // Objects that the stages refer to, and that neither the stages nor the catalog describe. If
  // there are any, the plan cannot be carried out.
  const std::vector<ObjectId>& missing() const { return missing_; }
  const std::unordered_map<ObjectId, Object>& objects() const { return objects_; }
  const Object* Find(ObjectId object) const;
  // Returns whether the stage has all content that it gives the object in a staged file.
  bool ComesAsFile(ObjectId object, const Object& planned, const Stage& stage) const {
    return planned.in_file && FileOf(object).stage == &stage;
  }
  // Returns the staged file of an object that is in_file.
  const StagedFile& FileOf(ObjectId object) const { return staged_files_.at(object); }
  // Returns the size that is wanted of an object that is kTooLarge.
  uint64_t SizeWanted(ObjectId object) const { return too_large_.at(object); }
  // Whether the record of the object at `position` is not applied.
  bool Ignores(ObjectId object, const Object& planned, uint64_t position) const {
    return position < planned.whole || position > planned.last || IsVoid(object, position);
  }
  bool IsNew(ObjectId object) const;
  // Records that the redo has made a new object at its only name.
  void NoteMadeInPlace(ObjectId object);
  // Returns the smallest size that a record after `position` gives the file: content that the
  // record at `position` puts beyond it does not stay.
  uint64_t SmallestSizeAfter(ObjectId object, uint64_t position) const;
  // Names that are set, or removed (the child is null), in directories that exist in the end.
  const PlannedEntries& entries() const { return entries_; }
  // Names that the stages set or remove in directories that do not exist in the end. They lead
  // nowhere then, but an earlier redo, of some of the stages, may have put an object there that
  // moved on later.
  const std::vector<EntryKey>& passing_names() const { return passing_names_; }
  // Returns the new object whose content is that inode, or nullopt.
  std::optional<ObjectId> FindFile(InodeId inode) const;
  // The objects of the catalog that no name leads to in the end.
  const std::unordered_set<ObjectId>& dead() const { return dead_; }

  // Returns the object that `key` leads to in the end, or a null id.
  Result<ObjectId> FinalChild(const EntryKey& key);
  // Returns all names that lead to the object in the end.
  Result<std::vector<EntryKey>> FinalNames(ObjectId object);
  Result<bool> IsAlive(ObjectId object);
  Result<std::optional<meta::Kind>> FinalKind(ObjectId object);

 private:
  enum class Life : uint8_t { kUnknown, kVisiting, kAlive, kDead };

  // The records of a stage before it was last gone on with. They count for the objects that the
  // last attempt named again, from the last attempt on that did not name the object again but sent
  // it.
  struct BrokenOff {
    uint64_t first = 0;  // positions
    uint64_t end = 0;
    std::unordered_set<ObjectId> named_again;
    std::unordered_map<ObjectId, uint64_t> sent_anew;  // where that attempt begins
  };

  Plan(const std::vector<std::shared_ptr<Stage>>& stages, Catalog& catalog, uint64_t largest_file)
      : stages_(stages),
        catalog_(catalog),
        generation_(catalog.generation()),
        largest_file_(largest_file) {}
  void NoteBrokenOff(const Stage& stage, uint64_t first);
  static std::unordered_set<ObjectId> NamedAgain(std::span<const Outline* const> attempt);
  bool IsVoid(ObjectId object, uint64_t position) const;
  Status CollectAll();
  Status Collect(const Stage& stage, uint64_t& position);
  using Sizes = std::unordered_map<ObjectId, uint64_t>;
  Status Collect(const Outline& outline, uint64_t first, const Stage& stage,
                 const Sizes& too_large);
  // Returns the object as planned from the stages before. Looks it up in the table of short objects
  // if it is new to the plan.
  Result<Object*> Begin(ObjectId object);
  // Returns the same, or nullptr if the record is ignored: the stage makes the object too large, or
  // the object is short and this record is not `whole`.
  Result<Object*> BeginUnlessIgnored(ObjectId object, bool whole, const Sizes& too_large);
  // Returns the files that the stage leaves larger than the filesystem allows, with their sizes.
  // `first`: the position of the stage's first record.
  Sizes FindTooLarge(const Stage& stage, uint64_t first) const;
  // Returns the stage that has the record at `position`.
  const Stage* StageAt(uint64_t position) const;
  // Returns true if all content since its whole record, in that stage, is in one staged file.
  bool IsAllInAFile(ObjectId object, const Object& planned) const;
  Status ResolveEntries();
  Status DropUnreachable();
  Status CheckDirectories();
  Status DecideFates();
  Result<Fate> DecideFate(ObjectId object, const Object& planned);
  Result<bool> MayBeOfUse(ObjectId object);
  Status FindDead();
  Status Bury(ObjectId object);
  // Returns the names that the stages give the object, or else those of the catalog that the stages
  // leave alone. Their directories may be dead.
  Result<std::vector<EntryKey>> ClaimedNames(ObjectId object);
  Result<bool> IsDirectoryAlive(ObjectId directory);
  Result<Life> LifeOf(ObjectId directory);

  const std::vector<std::shared_ptr<Stage>> stages_;
  Catalog& catalog_;
  const uint64_t generation_;  // of the catalog
  const uint64_t largest_file_;
  bool some_are_short_ = false;  // in the catalog
  std::vector<BrokenOff> broken_off_;
  std::vector<uint64_t> stage_starts_;  // the positions of their first records
  std::unordered_map<ObjectId, Object> objects_;
  std::unordered_map<ObjectId, StagedFile> staged_files_;
  Sizes too_large_;
  // The sizes that later records give a file after its first record: (position, size), in order.
  std::unordered_map<ObjectId, std::vector<std::pair<uint64_t, uint64_t>>> later_sizes_;
  PlannedEntries entries_;
  std::vector<EntryKey> passing_names_;
  // (child, its name in the stages), sorted by child.
  std::vector<std::pair<ObjectId, const EntryKey*>> children_;
  std::unordered_set<ObjectId> dead_;
  std::unordered_map<ObjectId, ObjectId> files_;  // by the digest of InodeId
  std::vector<ObjectId> missing_;
  std::unordered_map<ObjectId, Life> life_;
  // Of all kinds of objects, but those that have a fate.
  std::unordered_map<ObjectId, bool> alive_;
  bool fates_decided_ = false;
};

}  // namespace tandem::replica
