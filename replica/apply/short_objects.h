// Objects that fall short on a replica: what one object alone makes impossible there (its size, its
// link target, its attributes, rights) does not hold up the others (DESIGN invariant 10). Such an
// object keeps what it was, or is an empty file if it is new, until it is sent whole and can be
// had.
//
// One whose name cannot be had (too many links, a name the filesystem does not take) stays in
// stage/hold until it can: each redo tries again.
//
// Table `short` of replica.db: object, whether only names are at fault, reason. Rows are written
// with the cut that falls short, in the same transaction. One thread at a time, as the catalog.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"

namespace tandem::replica {

class ShortObjects {
 public:
  static constexpr char kSchema[] =
      "CREATE TABLE short (object BLOB PRIMARY KEY, by_name INTEGER, reason BLOB) WITHOUT ROWID;";
  static constexpr Database::Table kTable = {"short", "object*,by_name,reason"};

  struct Row {
    ObjectId object;
    bool by_name = false;  // its content is what it should be
    std::string reason;    // for people, such as "set size: File too large"
  };

  ShortObjects() = default;
  // `database` has the table, and outlives this.
  static Result<ShortObjects> Open(Database& database);

  Result<uint64_t> Count();
  Result<bool> IsEmpty();
  Result<std::optional<Row>> Find(ObjectId object);
  // The first `limit`, by id.
  Result<std::vector<Row>> List(size_t limit);
  // All that fall short by name alone.
  Result<std::vector<Row>> ListByName();
  Status Note(const Row& row);
  Status Clear(ObjectId object);

 private:
  static Result<std::vector<Row>> Rows(Statement& rows);

  Statement count_, any_, find_, list_, list_by_name_, note_, clear_;
};

// Whether the error of a system call on one object is that object's matter. Not: no room, a disk
// that is read-only or broken, no memory; they are everybody's. An EIO is looked into: a probe file
// is written in `directory_fd` and synced.
bool IsItsOwnMatter(const Error& error, int directory_fd);

// How large a file may be on the filesystem of `directory_fd`, found by trying. INT64_MAX if it
// cannot be tried.
uint64_t LargestFileIn(int directory_fd);

}  // namespace tandem::replica
