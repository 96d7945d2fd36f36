// What a redo has to bring about: the records of one or more committed stages, in order, seen as
// one change from the catalog's state. Which names lead where in the end, which objects are made,
// kept or made anew, and which are left without a name. Nothing here touches the tree.
//
// One thread. Refers to the catalog, in which names must not change, and holds about 100 bytes for
// each object and 200 for each entry of the stages.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "replica/apply/catalog.h"
#include "replica/apply/stage.h"

namespace tandem::replica {

class Plan {
 public:
  enum class Fate : uint8_t {
    kDrop,     // no name leads to it in the end: records about it count for nothing
    kKeep,     // the catalog knows it: changed where it is
    kCreate,   // new
    kReplace,  // known, but what stands for it is made anew (of another kind, all in a file)
  };
  // Why what the last records say of an object is not done.
  enum class Shortfall : uint8_t {
    kNone,
    kTooLarge,  // for a file of the replica's filesystem
    kAsBefore,  // it fell short before, and is not sent whole
  };
  struct Object {
    // Records are counted through all stages, from 1. What came before `whole` counts for nothing
    // (0: all counts); after `last` the object is complete, and what comes then does not count
    // either: it falls short (0: nothing counts).
    uint64_t whole = 0;
    uint64_t last = 0;
    meta::Kind kind = meta::Kind::kFile;  // of the whole record, or of the last
    bool has_record = false;
    Fate fate = Fate::kDrop;
    Shortfall shortfall = Shortfall::kNone;
    uint64_t size_wanted = 0;  // if it is too large
    const Stage* whole_stage = nullptr;
    // The stage in whose files all its content of that stage stands; none: nullptr.
    const Stage* file_stage = nullptr;
    InodeId file;
    uint64_t file_position = 0;
  };

  // kProtocol: the stages contradict themselves (a directory with two names, or inside itself; an
  // object of another kind without a whole record). `largest_file`: of the replica's filesystem.
  static Result<std::unique_ptr<Plan>> Make(
      const std::vector<std::shared_ptr<Stage>>& stages, Catalog& catalog,
      uint64_t largest_file = std::numeric_limits<int64_t>::max());

  // Objects that the stages refer to and nobody has described. While there are any, the plan cannot
  // be carried out.
  const std::vector<ObjectId>& missing() const { return missing_; }
  const std::unordered_map<ObjectId, Object>& objects() const { return objects_; }
  const Object* Find(ObjectId object) const;
  // The smallest size that a record behind `position` gives the file: what is recorded there of its
  // content beyond that does not stay.
  uint64_t SmallestSizeAfter(ObjectId object, uint64_t position) const;
  // Names that are set, or (null) removed, in directories that exist in the end.
  const std::unordered_map<EntryKey, ObjectId>& entries() const { return entries_; }
  // Names that the stages speak of, in directories that do not exist in the end. They lead nowhere
  // then, but a redo before, of some of the stages, may have put there what moved on later.
  const std::vector<EntryKey>& passing_names() const { return passing_names_; }
  // The new object whose content is that inode.
  std::optional<ObjectId> FindFile(InodeId inode) const;
  // Objects of the catalog that no name leads to in the end.
  const std::unordered_set<ObjectId>& dead() const { return dead_; }

  // Where `key` leads in the end; null: nowhere.
  Result<ObjectId> FinalChild(const EntryKey& key);
  // All names that lead to the object in the end.
  Result<std::vector<EntryKey>> FinalNames(ObjectId object);
  Result<bool> IsAlive(ObjectId object);
  Result<std::optional<meta::Kind>> FinalKind(ObjectId object);

 private:
  enum class Life : uint8_t { kUnknown, kVisiting, kAlive, kDead };

  Plan(Catalog& catalog, uint64_t largest_file) : catalog_(catalog), largest_file_(largest_file) {}
  Status Collect(const std::vector<std::shared_ptr<Stage>>& stages);
  Status Collect(const Stage& stage, uint64_t& position);
  using Sizes = std::unordered_map<ObjectId, uint64_t>;
  Status Collect(const Outline& outline, uint64_t first, const Stage& stage,
                 const Sizes& too_large);
  // The object, as far as the stages before go. Looks it up in the catalog if it is not known yet.
  Result<Object*> Begin(ObjectId object);
  // The same, if what a stage says of it counts; else null: the stage makes it too large, or it is
  // short and this is not all of it (`whole`).
  Result<Object*> BeginIfItCounts(ObjectId object, bool whole, const Sizes& too_large);
  // Files that the stage leaves larger than they can be.
  Sizes FindTooLarge(const Stage& stage) const;
  Status ResolveEntries();
  Status DropUnreachable();
  Status CheckDirectories();
  Status DecideFates();
  Result<Fate> DecideFate(ObjectId object, const Object& planned);
  Status FindDead();
  Status Bury(ObjectId object);
  // Names by the stages, or else the catalog's that the stages leave alone; their directories may
  // be dead.
  Result<std::vector<EntryKey>> ClaimedNames(ObjectId object);
  Result<bool> IsDirectoryAlive(ObjectId directory);
  Result<Life> LifeOf(ObjectId directory);

  Catalog& catalog_;
  const uint64_t largest_file_;
  bool some_are_short_ = false;  // in the catalog
  std::unordered_map<ObjectId, Object> objects_;
  // Of files that get a size after something else was said of them: (position, size), in order.
  std::unordered_map<ObjectId, std::vector<std::pair<uint64_t, uint64_t>>> later_sizes_;
  std::unordered_map<EntryKey, ObjectId> entries_;
  std::vector<EntryKey> passing_names_;
  // (child, its name by the stages), by child. The keys are entries_'.
  std::vector<std::pair<ObjectId, const EntryKey*>> children_;
  std::unordered_set<ObjectId> dead_;
  std::unordered_map<ObjectId, ObjectId> files_;  // by inode, InodeId's digest
  std::vector<ObjectId> missing_;
  std::unordered_map<ObjectId, Life> life_;
  std::unordered_map<ObjectId, bool> alive_;  // of everything else, too
};

}  // namespace tandem::replica
