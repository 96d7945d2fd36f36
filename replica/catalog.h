// replica.db: what the replica has applied, as the source described it. Objects with the source's
// attributes and the inode that stands for them in tree/, names, and the cut all this belongs to.
// It changes in one transaction a cut, the last step of a redo: until then it is the base the redo
// starts from, and after a crash starts from again.
//
// A Catalog belongs to one thread at a time. The redo owns the only one that writes; readers have
// their own. The schema stands in replica/STORE.md and in catalog.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "meta/attributes.h"
#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"

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

// A cut and when the source took it.
struct AppliedCut {
  CutName name;
  int64_t wall_time_ns = 0;
};

class Catalog {
 public:
  // Opens or creates. kCorrupt: no database, or a damaged one.
  static Result<std::unique_ptr<Catalog>> Open(const std::string& path);
  // Sees what the writer has committed.
  static Result<std::unique_ptr<Catalog>> OpenReader(const std::string& path);
  ~Catalog();

  Result<std::optional<CatalogObject>> Find(ObjectId object);
  Result<std::optional<meta::Kind>> FindKind(ObjectId object);
  Result<std::optional<ObjectId>> FindInode(InodeId inode);
  // Null: the name leads to nothing.
  Result<ObjectId> ChildOf(const EntryKey& key);
  Result<std::vector<EntryKey>> NamesOf(ObjectId object);
  // In byte order of names, from the one after `after`.
  Result<std::vector<CatalogEntry>> EntriesOf(ObjectId directory, const std::string& after,
                                              size_t limit);
  Result<AppliedCut> Applied();
  // There is no name.
  Result<bool> IsEmpty();

  // The rest only within a transaction. `cut` is noted as the one that last changed the row.
  Result<Transaction> Begin() { return Transaction::Begin(database_); }
  Status Put(ObjectId object, const CatalogObject& value, Epoch cut);
  // The object and the names in it.
  Status Remove(ObjectId object);
  Status RemoveNamesIn(ObjectId directory);
  Status SetEntry(const EntryKey& key, ObjectId child, Epoch cut);
  Status RemoveEntry(const EntryKey& key);
  Status SetApplied(const AppliedCut& cut);

  // Moves the write-ahead log into the database file; not within a transaction.
  // Passive: this connection is the only writer.
  Status Checkpoint() {
    RETURN_IF_ERROR(database_.Checkpoint(Database::CheckpointMode::kPassive));
    return {};
  }

 private:
  struct Statements;
  Catalog(Database database, std::unique_ptr<Statements> statements);
  static Result<std::unique_ptr<Catalog>> Prepare(Database database);

  Database database_;
  std::unique_ptr<Statements> statements_;  // ends before database_
};

}  // namespace tandem::replica
