// replica.db: what the replica has applied, as the source described it. Objects with the source's
// attributes and the inode that stands for them in tree/, names, and the cut all this belongs to.
//
// Two steps. All that a redo changes is one part of an open transaction, undone if the redo fails.
// Keep commits the transaction, with the cuts in it, to stable storage; whoever calls it has
// brought the tree there before. So after any crash the catalog is at a cut that the tree on the
// disk has reached, and the stages from there on lead to the last one.
//
// One thread at a time. The schema stands in replica/STORE.md and in catalog.cc.
#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "meta/attributes.h"
#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/short_objects.h"

namespace tandem::replica {

// Which inode of the replica's filesystem: the digest of its file handle (meta/file_handle.h),
// never to be taken for the source's ObjectId.
struct InodeId {
  ObjectId digest;
  friend bool operator==(const InodeId&, const InodeId&) = default;
};

struct CatalogObject {
  InodeId inode;
  meta::Attributes attributes;
  Epoch changed = {};  // the cut that last changed it; Put sets it
};

struct CatalogEntry {
  std::string name;
  ObjectId child;
};

// So many objects that lack extended attributes are counted at most; then there are more.
inline constexpr uint64_t kMaxCountedLacking = 10'000;

struct LackingXattrs {
  uint64_t objects = 0;  // kMaxCountedLacking + 1: more than that
  std::string names;     // what one of them lacks
};

// A cut and when the source took it.
struct AppliedCut {
  CutName name;
  int64_t wall_time_ns = 0;

  // No cut: the tree is of no one moment. With an id of its own each time, so that a stage that was
  // begun then fits no other such state.
  static AppliedCut Nowhere() { return {{Epoch(), CutId::Random()}, 0}; }
  bool IsNowhere() const { return name.epoch == Epoch(); }
};

class Catalog {
 public:
  // Opens or creates. kCorrupt: no database, or a damaged one. kUsage: a newer tandemd wrote it.
  static Result<std::unique_ptr<Catalog>> Open(const std::string& path);
  ~Catalog();

  // These give kCorrupt where a row holds what we never write.
  Result<std::optional<CatalogObject>> Find(ObjectId object);
  Result<std::optional<meta::Kind>> FindKind(ObjectId object);
  Result<std::optional<ObjectId>> FindInode(InodeId inode);
  // Null: the name leads to nothing.
  Result<ObjectId> ChildOf(const EntryKey& key);
  Result<std::vector<EntryKey>> NamesOf(ObjectId object);
  // In byte order of names, from the one after `after`.
  Result<std::vector<CatalogEntry>> EntriesOf(ObjectId directory, const std::string& after = {},
                                              size_t limit = std::numeric_limits<int64_t>::max());
  Result<AppliedCut> Applied();
  // There is no name.
  Result<bool> IsEmpty();
  Result<LackingXattrs> CountLackingXattrs();
  // Changed within a part, as all else.
  ShortObjects& short_objects();

  // Opens the transaction if none is open, and a part of it. The calls that change something are
  // made within a part; `cut` is noted as the one that last changed the row. An error may have
  // undone more than the part: all since the last Keep. Applied() tells.
  Result<Savepoint> Begin();
  Status Put(ObjectId object, const CatalogObject& value, Epoch cut);
  // Extended attributes the object has on the source, and cannot have in the tree; empty: none.
  Status NoteLackingXattrs(ObjectId object, const std::string& names);
  // The object and the names in it.
  Status Remove(ObjectId object);
  Status RemoveNamesIn(ObjectId directory);
  // The objects, their names, and all that is known below them; but for what `is_kept` says.
  Status Forget(std::deque<ObjectId> objects, const std::function<bool(ObjectId)>& is_kept);
  Status SetEntry(const EntryKey& key, ObjectId child, Epoch cut);
  Status RemoveEntry(const EntryKey& key);
  Status SetApplied(const AppliedCut& cut);

  // Commits what is in the transaction, durably; not within a part. Takes it for nothing if there
  // is none: it may have been undone.
  Status Keep();
  // Undoes it.
  void Discard();
  // Claims blocks, beyond the ends of its files, for what a transaction writes that removes objects
  // or changes some, so that a full disk does not keep it from being committed. Best effort.
  void ClaimRoom();

 private:
  struct Statements;
  tl::unexpected<Error> Damaged(const std::string& table) const;
  Catalog(Database database, std::unique_ptr<Statements> statements);

  // Closed after the database: to close it gives up SQLite's locks.
  UniqueFd file_;
  Database database_;
  std::unique_ptr<Statements> statements_;  // ends before database_
};

}  // namespace tandem::replica
