// Names in the tree that no object has, and that the filesystem refuses to remove: the inode there
// is damaged. Each redo tries again. The directory falls short by name meanwhile (short_objects.h).
//
// Table `standing` of replica.db: the directory and the name. One thread at a time, like the
// catalog.
#pragma once

#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "replica/apply/catalog_rows.h"

namespace tandem::replica {

class StandingNames {
 public:
  static constexpr char kSchema[] =
      "CREATE TABLE standing (directory BLOB, name BLOB, PRIMARY KEY (directory, name))"
      " WITHOUT ROWID;";
  static constexpr Database::Table kTable = {"standing", "directory*,name*"};

  StandingNames() = default;
  // Requires that `database` has the table and outlives the result.
  static Result<StandingNames> Open(Database& database);

  Result<std::vector<EntryKey>> List();
  // These are called within a savepoint.
  Status Note(const EntryKey& key);
  Status Clear();

 private:
  Statement list_, note_, clear_;
};

}  // namespace tandem::replica
