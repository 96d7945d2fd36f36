// replica.db: what the replica has applied, as the source described it. It has the objects, each
// with the source's attributes and the inode that stands for it in tree/, the names, and the cut
// that all of this belongs to.
//
// Changes become durable in two steps. Everything that a redo changes is one savepoint of an open
// transaction, and is undone if the redo fails. Keep commits the transaction, with the cuts in it,
// to stable storage; its caller has brought the tree there before. So after any crash the catalog
// is at a cut that the tree on the disk has reached, and the stages since then lead to the last
// cut.
//
// One thread at a time. The schema is in replica/STORE.md and in catalog_schema.cc.
#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/change/file_handle.h"
#include "meta/source/attributes.h"
#include "replica/apply/block_digests.h"
#include "replica/apply/damaged_objects.h"
#include "replica/apply/lacking_objects.h"
#include "replica/apply/short_objects.h"
#include "replica/apply/standing_names.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {

// Identifies an inode of the replica's filesystem: the digest of its file handle
// (meta/change/file_handle.h). Not to be confused with the source's ObjectId.
struct InodeId {
  ObjectId digest;
  friend bool operator==(const InodeId&, const InodeId&) = default;
};

inline constexpr IdForm kInodeIds = IdForm::kHash;

struct CatalogObject {
  InodeId inode;
  meta::Attributes attributes;
  Epoch changed = {};  // the cut that last changed it; Put sets it
};

struct CatalogEntry {
  std::string name;
  ObjectId child;
};

// What all objects of a catalog take: a file its length in blocks of 4 KiB, holes included, a
// directory one block, and every object its link target and extended attributes.
struct CatalogTotals {
  uint64_t bytes = 0;
  uint64_t objects = 0;
  friend bool operator==(const CatalogTotals&, const CatalogTotals&) = default;
};

// A cut, and the time at which the source took it.
struct AppliedCut {
  CutName name;
  int64_t wall_time_ns = 0;

  // The position "nowhere": the tree is at no cut. It has a fresh id each time, so a stage that was
  // begun on one such position fits no other.
  static AppliedCut Nowhere() { return {{Epoch(), CutId::Random()}, 0}; }
  bool IsNowhere() const { return name.epoch == Epoch(); }
};

class Catalog {
 public:
  // Opens or creates the database. Returns kCorrupt if it is damaged or no database, and kUsage if
  // a newer tandemd wrote it.
  static Result<std::unique_ptr<Catalog>> Open(const std::string& path);
  ~Catalog();

  // These return kCorrupt if a row has a value that tandemd never writes.
  Result<std::optional<CatalogObject>> Find(ObjectId object);
  Result<std::optional<meta::Kind>> FindKind(ObjectId object);
  Result<std::optional<ObjectId>> FindInode(InodeId inode);
  // Returns the inode that stands for the object.
  Result<std::optional<InodeId>> InodeOf(ObjectId object);
  // Returns a null id if the name leads to nothing.
  Result<ObjectId> ChildOf(const EntryKey& key);
  Result<std::vector<EntryKey>> NamesOf(ObjectId object,
                                        size_t limit = std::numeric_limits<int64_t>::max());
  // Returns at most `limit` entries in byte order of names, from the first one after `after` to
  // `up_to`, or, if that is empty, to the end.
  Result<std::vector<CatalogEntry>> EntriesOf(ObjectId directory, const std::string& after = {},
                                              size_t limit = std::numeric_limits<int64_t>::max(),
                                              const std::string& up_to = {});
  // Returns the first `limit` objects after `after`, by id, with their kinds.
  Result<std::vector<std::pair<ObjectId, meta::Kind>>> ObjectsAfter(ObjectId after, size_t limit);
  Result<AppliedCut> Applied();
  // Returns true if there is no entry.
  Result<bool> IsEmpty();
  // Kept up to date row by row, so this costs nothing. Within a savepoint it is behind until
  // SetApplied.
  Result<CatalogTotals> Totals();
  // What one object takes of Totals().bytes. Returns nullopt if there is no such object.
  struct ObjectBytes {
    uint64_t content = 0;
    uint64_t beside = 0;  // link target and extended attributes
  };
  Result<std::optional<ObjectBytes>> FindBytes(ObjectId object);
  // Returns ObjectBytes::content of such an object.
  static uint64_t BytesOf(meta::Kind kind, uint64_t size);
  // Changed within a savepoint, like everything else.
  ShortObjects& short_objects();
  LackingObjects& lacking();
  BlockDigests& digests();
  DamagedObjects& damaged();
  StandingNames& standing();

  // Opens the transaction if none is open, and a savepoint in it. All calls that change something
  // are made within a savepoint; `cut` is recorded as the cut that last changed the row. An error
  // may have undone more than the savepoint, namely everything since the last Keep; Applied() then
  // returns the cut that is left.
  Result<Savepoint> Begin();
  // Allows memory for so many objects that will change before the next Keep or Discard. Only makes
  // that quicker.
  void PrepareFor(size_t objects);
  Status Put(ObjectId object, const CatalogObject& value, Epoch cut);
  // Like Put, of an object that is not in the catalog: that need not be looked up.
  Status Add(ObjectId object, const CatalogObject& value, Epoch cut);
  // Removes the object and the names in it.
  Status Remove(ObjectId object);
  Status RemoveNamesIn(ObjectId directory);
  // Gives an object another id, with all its names and all names in it. `after` must not exist.
  // `cut` is recorded as the cut that last changed it.
  Status Rekey(ObjectId before, ObjectId after, Epoch cut);
  // Removes the objects, their names, and everything below them, except objects for which `is_kept`
  // returns true.
  Status Forget(std::deque<ObjectId> objects, const std::function<bool(ObjectId)>& is_kept);
  Status SetEntry(const EntryKey& key, ObjectId child, Epoch cut);
  Status RemoveEntry(const EntryKey& key);
  // The last change in a savepoint.
  Status SetApplied(const AppliedCut& cut);

  // Commits the transaction durably. Not to be called within a savepoint. Does nothing if no
  // transaction is open, because an error may have undone it.
  Status Keep();
  // Returns whether a transaction is open, with changes that were not kept.
  bool HasUnkept() const { return database_.InTransaction(); }
  // Undoes the transaction.
  void Discard();
  // A number that is another one after each savepoint, and whenever something was undone.
  uint64_t generation() const { return generation_; }
  // Claims blocks beyond the ends of the database's files, for a transaction that removes objects
  // or changes a few, so that it can be committed on a full disk. Best effort.
  void ClaimRoom();

 private:
  struct Statements;
  tl::unexpected<Error> Damaged(const std::string& table) const;
  void SetCache(uint64_t bytes);
  Status Write(ObjectId object, const CatalogObject& value, const ObjectBytes& before, Epoch cut);
  Catalog(Database database, std::unique_ptr<Statements> statements);

  uint64_t cache_bytes_ = kCacheBytes;
  uint64_t generation_ = 0;
  // Declared before database_ and so closed after it: closing it drops SQLite's locks.
  UniqueFd file_;
  // What the open savepoint has added to the table `total` so far.
  int64_t added_bytes_ = 0;
  int64_t added_objects_ = 0;
  // Known to be so, as during a first copy: names need not be looked up.
  bool has_no_entries_ = false;
  Database database_;
  std::unique_ptr<Statements> statements_;  // destroyed before database_
};

}  // namespace tandem::replica
