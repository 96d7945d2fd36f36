// Content of a stage that stands in files of its own, STORE/VOLUME/stage/ID.files/OBJECT, bytes at
// their own offsets, instead of in the stage file: that of large new objects, so that they are
// moved into the tree without a second copy; and, where the filesystem can share blocks, large
// pieces of old ones, which are then cloned. Records that were taken out stay in the stage as
// Encoding::kStaged and name the file's inode, by which a redo that was interrupted finds it again
// wherever it has got to.
//
// Take: any thread. Sync, and what follows it: one at a time, with no Take running.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/catalog.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class StagedFiles {
 public:
  // `stages_fd`: the directory of stages, borrowed. The files' own is made when it is needed.
  StagedFiles(int stages_fd, std::string directory)
      : stages_fd_(stages_fd), directory_(std::move(directory)) {}
  static constexpr char kSuffix[] = ".files";

  // Writes what belongs into files, and leaves kStaged in its place. True: there was some.
  // `sequence`: of the records' chunk.
  Result<bool> Take(std::vector<Record>& records, uint64_t sequence);
  // All of it is on stable storage when this returns.
  Status Sync();

  // An O_RDONLY descriptor. Not valid: the file is not here (any more).
  Result<UniqueFd> Open(ObjectId object) const;
  // False: it is not here (any more).
  Result<bool> MoveTo(ObjectId object, int directory_fd, const std::string& name) const;
  // What is still here, and the directory.
  Status Remove();

 private:
  struct File {
    InodeId inode;
    bool fresh = false;
    uint64_t since = 0;  // the first chunk with a fresh record
    RangeSet pieces;     // taken while it was not
  };
  struct Place {
    InodeId inode;
    bool fresh;
  };
  Result<bool> TakeOne(DataRecord& record, uint64_t sequence);
  Status Shrink(const ObjectRecord& record, uint64_t sequence);
  Result<std::optional<Place>> PlaceFor(const DataRecord& record, uint64_t sequence)
      EXCLUDES(mutex_);
  Result<File> Create(ObjectId object) REQUIRES(mutex_);
  Status Empty(ObjectId object) REQUIRES(mutex_);
  Status GiveBackRoom() REQUIRES(mutex_);
  Result<UniqueFd> OpenDirectory() const;
  bool SharesBlocks() REQUIRES(mutex_);

  const int stages_fd_;
  const std::string directory_;
  Mutex mutex_;
  std::unordered_map<ObjectId, File> files_ GUARDED_BY(mutex_);
  UniqueFd directory_fd_ GUARDED_BY(mutex_);
  std::optional<bool> shares_blocks_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
