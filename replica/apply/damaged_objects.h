// What the last scrub found damaged (replica/store/scrubber.h), until the source has sent it again:
// objects that another program or the disk has changed or removed in the tree. Also when the volume
// was last scrubbed.
//
// Table `damaged` of replica.db: object, whether all of it has to be sent, else the ranges of its
// content that have to be (pairs of start and end, 8 bytes each, little endian; none: attributes or
// names alone), what was found. Table `scrubbed`: one row, when the last scrub ended. One thread at
// a time, like the catalog.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"

namespace tandem::replica {

class DamagedObjects {
 public:
  static constexpr char kSchema[] =
      "CREATE TABLE damaged (object BLOB PRIMARY KEY, whole INTEGER, ranges BLOB, what BLOB)"
      " WITHOUT ROWID;"
      "CREATE TABLE scrubbed (one INTEGER PRIMARY KEY CHECK (one = 1), ended_s INTEGER);";
  static constexpr Database::Table kTable = {"damaged", "object*,whole,ranges,what"};
  static constexpr Database::Table kScrubbedTable = {"scrubbed", "one*,ended_s"};

  struct Row {
    ObjectId object;
    bool whole = false;  // it is missing, or it is not known which of its content is right
    RangeSet ranges;     // of its content, in whole blocks (BlockDigests::kBlock)
    std::string what;    // a phrase for people
  };

  DamagedObjects() = default;
  // Requires that `database` has the tables and outlives the result.
  static Result<DamagedObjects> Open(Database& database);

  Result<uint64_t> Count();
  Result<std::optional<Row>> Find(ObjectId object);
  // Returns the first `limit` rows after `after`, by id.
  Result<std::vector<Row>> List(size_t limit, ObjectId after = {});
  // Called within a savepoint. Ranges are merged until a row has at most kMaxDamagedRanges.
  Status Note(const Row& row);
  Status Clear(ObjectId object);

  // Returns when the last scrub ended, in seconds since 1970, or nullopt if none has.
  Result<std::optional<int64_t>> ScrubbedAt();
  Status NoteScrubbed(int64_t seconds);

 private:
  Statement count_, find_, list_, note_, clear_, scrubbed_, note_scrubbed_;
};

}  // namespace tandem::replica
