// Table `digest` of replica.db: what each block of each regular file in the tree had for content
// when it was applied, so that a scrub finds what has changed since without the source
// (replica/STORE.md, "Scrub").
//
// A block is 128 KiB, or what the file has of it. Its digest is XXH3-64. A row has those of a run
// of 64 blocks (8 MiB), so a small write into a huge file changes one row. Blocks without a digest
// in the table are zeros, which a hole of any size is; in a file with the row kRestUnknown they are
// unknown: a file from before the table existed.
//
// Rows change in the same transaction as the cut. The row in use is kept in memory until Flush.
// One thread at a time, like the catalog.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"

namespace tandem::replica {

class BlockDigests {
 public:
  static constexpr uint64_t kBlock = 128 << 10;
  static constexpr uint64_t kRunBlocks = 64;

  using Digest = uint64_t;
  // Values that are no digest of content. Of() returns neither.
  static constexpr Digest kUnknown = 0;
  static constexpr Digest kZeros = 1;

  // Files that the catalog has already are unknown.
  static constexpr char kSchema[] =
      "CREATE TABLE digest (object BLOB, run INTEGER, digests BLOB, PRIMARY KEY (object, run))"
      " WITHOUT ROWID;"
      "INSERT INTO digest SELECT id, -1, x'' FROM object WHERE kind = 1;";
  static constexpr Database::Table kTable = {"digest", "object*,run*,digests"};

  // Returns the digest of a block's content.
  static Digest Of(std::string_view content);
  // Returns false if the digest is unknown.
  static bool Matches(Digest digest, std::string_view content);
  // Returns how many blocks a file of that size has.
  static uint64_t CountIn(uint64_t size) { return size / kBlock + (size % kBlock != 0 ? 1 : 0); }

  BlockDigests() = default;
  // Requires that `database` has the table and outlives the result.
  static Result<BlockDigests> Open(Database& database);

  Result<Digest> Find(ObjectId object, uint64_t block);
  // Returns the first run from `run` on that has a row, or nullopt if there is none.
  Result<std::optional<uint64_t>> NextRun(ObjectId object, uint64_t run);
  // Returns whether blocks that no row has are unknown; otherwise they are zeros.
  Result<bool> IsRestUnknown(ObjectId object);

  // Called within a savepoint, like all that follow.
  // The digests of a new file, from its first block on. It must have none yet.
  Status Add(ObjectId object, const std::vector<Digest>& digests);
  Status Set(ObjectId object, uint64_t block, Digest digest);
  // Sets the blocks [first, end) to kZeros or kUnknown. Where that would take a million rows, more
  // may become unknown.
  Status SetRange(ObjectId object, uint64_t first, uint64_t end, Digest digest);
  // Forgets the digests from this block on: the file ends before it.
  Status CutAt(ObjectId object, uint64_t block);
  // The file is empty, or no file.
  Status Clear(ObjectId object);
  // Every block is unknown.
  Status MakeUnknown(ObjectId object);
  // The object has another id.
  Status Rekey(ObjectId before, ObjectId after);
  // Writes what is kept in memory. To be called before the savepoint is released.
  Status Flush();
  // Drops what is kept in memory: the savepoint is rolled back, or begins.
  void Drop() { row_ = Row(); }

 private:
  // A row in memory.
  struct Row {
    ObjectId object;  // null: none
    uint64_t run = 0;
    bool rest_unknown = false;
    bool changed = false;
    bool stored = false;  // the table has it
    std::vector<Digest> digests = {};
  };
  Status Load(ObjectId object, uint64_t run);
  Digest Rest() const { return row_.rest_unknown ? kUnknown : kZeros; }
  Status SetInRun(ObjectId object, uint64_t first, uint64_t end, Digest digest);

  Statement find_, next_, put_, remove_, remove_range_, clear_, rekey_;
  Row row_;
};

}  // namespace tandem::replica
