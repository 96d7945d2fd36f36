// Where the replica has which chunk of content (replica/content_chunks.h), as far as it was noted:
// VOLUME/chunks.db. The index is a guess, since content changes: read the place and compare
// (replica/known/KNOWN.md).
//
// Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"

namespace tandem::replica {

class ChunkIndex {
 public:
  struct Row {
    uint64_t name = 0;
    ObjectId object;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  static constexpr char kFileName[] = "chunks.db";

  // Opens or creates the database in `directory`. One that is damaged, or of another version, is
  // made anew. It keeps at most `most` rows.
  static Result<std::unique_ptr<ChunkIndex>> Open(const std::string& directory, uint64_t most);

  // Notes the chunks. Of several with one name the last counts.
  Status Put(std::span<const Row> rows) EXCLUDES(mutex_);
  Result<std::optional<Row>> Find(uint64_t name) EXCLUDES(mutex_);
  // Forgets the chunk, which is not there any more.
  Status Forget(uint64_t name) EXCLUDES(mutex_);
  Result<uint64_t> Count() EXCLUDES(mutex_);

 private:
  ChunkIndex(Database database, uint64_t most) : most_(most), database_(std::move(database)) {}
  Status Prepare() EXCLUDES(mutex_);
  Result<uint64_t> CountRows() REQUIRES(mutex_);
  Status MakeRoom() REQUIRES(mutex_);

  const uint64_t most_;
  Mutex mutex_;
  Database database_ GUARDED_BY(mutex_);
  Statement put_ GUARDED_BY(mutex_);
  Statement find_ GUARDED_BY(mutex_);
  Statement forget_ GUARDED_BY(mutex_);
  Statement forget_slice_ GUARDED_BY(mutex_);
  uint64_t count_ GUARDED_BY(mutex_) = 0;  // at least as many as there are
  uint64_t slice_ GUARDED_BY(mutex_) = 0;  // the next to be forgotten
};

}  // namespace tandem::replica
