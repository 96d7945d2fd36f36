// The content of a stage that is in files of its own, STORE/VOLUME/stage/ID.files/OBJECT, at the
// content's own offsets, instead of in the stage file. This is the content of large new objects,
// whose files are moved into the tree without a second copy. If the filesystem can share blocks, it
// is also large pieces of old objects, which are then cloned. The records stay in the stage as
// Encoding::kStaged and name the file's inode, by which an interrupted redo finds the file wherever
// it was moved.
//
// Any thread may call Take. Sync and all other functions are called by one thread at a time, and
// while no Take runs.
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
  // Borrows `stages_fd`, the directory of stages. `directory`, the name of the files' own directory
  // in it, is made when it is needed.
  StagedFiles(int stages_fd, std::string directory)
      : stages_fd_(stages_fd), directory_(std::move(directory)) {}
  static constexpr char kSuffix[] = ".files";

  // Writes the content that belongs into files, and replaces its records by kStaged ones. Returns
  // true if there was any. `sequence` is that of the records' chunk.
  Result<bool> Take(std::vector<Record>& records, uint64_t sequence);
  // Keeps what came with chunks before `sequence`, and goes on. Returns false if later chunks have
  // destroyed some of that.
  bool ResumeAt(uint64_t sequence);
  // While a stage is read back that is to be gone on with: notes a kStaged record, in order of
  // sequence. Then FindAgain returns whether all files are there.
  void Note(const DataRecord& record, uint64_t sequence);
  Result<bool> FindAgain();

  // Syncs all files and their names. They are on stable storage when this returns.
  Status Sync();

  // Returns an O_RDONLY descriptor, or an invalid one if the file is not here (any more), or is
  // another one than `inode`.
  Result<UniqueFd> Open(ObjectId object, InodeId inode) const;
  // Returns false if the file is not here (any more).
  Result<bool> MoveTo(ObjectId object, int directory_fd, const std::string& name) const;
  // Removes the files that are still here, and their directory.
  Status Remove();

 private:
  struct File {
    InodeId inode;
    bool fresh = false;
    uint64_t since = 0;  // the first chunk with a fresh record
    RangeSet pieces;     // taken while it was not fresh
  };
  // Stands beside the files once pieces were lost because their file became fresh.
  static constexpr char kPiecesLost[] = "pieces-lost";
  struct Place {
    InodeId inode;
    bool fresh;
  };
  Result<bool> TakeOne(DataRecord& record, uint64_t sequence);
  Status Shrink(const ObjectRecord& record, uint64_t sequence);
  Result<std::optional<Place>> PlaceFor(const DataRecord& record, uint64_t sequence)
      EXCLUDES(mutex_);
  Result<File> Create(ObjectId object) REQUIRES(mutex_);
  Status Empty(ObjectId object, InodeId inode) REQUIRES(mutex_);
  // Fails with ESTALE if another program has put another file in its place.
  static Result<UniqueFd> OpenOwn(int directory_fd, ObjectId object, InodeId inode, int flags);
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
