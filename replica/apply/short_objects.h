// Objects that fall short on a replica (DESIGN invariant 10): what one object alone makes
// impossible there (its size, its link target, its attributes, rights) does not hold up the others.
// Such an object keeps its last version, or is an empty file if it is new, until it is sent whole
// and can be written.
//
// An object whose name is impossible (too many links, a name the filesystem does not allow) stays
// in stage/hold, and each redo tries the name again.
//
// Table `short` of replica.db: object, whether only names are at fault, reason. Rows are written in
// the same transaction as the cut at which the object falls short. One thread at a time, like the
// catalog.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::replica {

class ShortObjects {
 public:
  static constexpr char kSchema[] =
      "CREATE TABLE short (object BLOB PRIMARY KEY, by_name INTEGER, reason BLOB) WITHOUT ROWID;";
  static constexpr Database::Table kTable = {"short", "object*,by_name,reason"};

  struct Row {
    ObjectId object;
    bool by_name = false;  // only its name falls short; its content is correct
    std::string reason;    // shown to users, such as "set size: File too large"
  };

  ShortObjects() = default;
  // Requires that `database` has the table and outlives the result.
  static Result<ShortObjects> Open(Database& database);

  Result<uint64_t> Count();
  Result<bool> IsEmpty();
  Result<std::optional<Row>> Find(ObjectId object);
  // Returns the first `limit` rows, by id.
  Result<std::vector<Row>> List(size_t limit);
  // Returns the rows of all objects that fall short by name alone.
  Result<std::vector<Row>> ListByName();
  Status Note(const Row& row);
  Status Clear(ObjectId object);

 private:
  static Result<std::vector<Row>> Rows(Statement& rows);

  Statement count_, any_, find_, list_, list_by_name_, note_, clear_;
};

// Returns true if the error of a system call on an object concerns that object alone. Returns false
// if it concerns the whole volume: no room, no memory, a disk that is read-only or broken. To
// classify an EIO, writes and syncs a probe file in `directory_fd`.
bool IsErrorOfTheObject(const Error& error, int directory_fd);

// Opens a file without a name or, if the filesystem has none, one whose name is removed at once.
// Returns an invalid descriptor if that fails.
UniqueFd OpenProbe(int directory_fd);

// Returns the size of the largest file that the filesystem of `directory_fd` allows, found by
// trying, or INT64_MAX if it cannot be tried.
uint64_t LargestFileIn(int directory_fd);

}  // namespace tandem::replica
