// The second step of a redo; see replica/apply/redo.h. Reads all records of the stages in order,
// makes new objects, writes data, and completes each file with its size and attributes
// after its last record. Keeps the attributes of directories for the last step. Writes each
// object's row to the open transaction at once. One thread.
#pragma once

#include <map>
#include <string>
#include <unordered_map>

#include "replica/apply/content_digests.h"
#include "replica/apply/redo.h"

namespace tandem::replica {

class ContentWriter {
 public:
  explicit ContentWriter(RedoState& state) : state_(state), digests_(state.place.catalog) {}
  Status Run(const std::vector<std::shared_ptr<Stage>>& stages);

  // Makes an object that the catalog has and the tree has not (another program took it away) again,
  // in hold/ and without content, and records it as lost.
  Status MakeLost(ObjectId object);
  // The final attributes of the directories that have records.
  const std::unordered_map<ObjectId, meta::Attributes>& directories() const { return directories_; }

 private:
  // An object of which some records have been read, and not yet the last.
  struct Active {
    UniqueFd fd;  // open for writing once there was data
    std::optional<meta::Attributes> attributes;
    std::optional<meta::Xattrs> xattrs;
  };

  Status Take(const Record& record, uint64_t position);
  bool ComesAsFile(ObjectId object, const Plan::Object& planned) const;
  Status Take(const ObjectRecord& record, const Plan::Object& planned, uint64_t position);
  Status Take(const DataRecord& record, const Plan::Object& planned, uint64_t position);
  // Leaves the object as it is. One that is not there yet becomes an empty file or directory.
  Status LeaveShort(ObjectId object, const Plan::Object& planned);
  Status RecordShort(ObjectId object, const Plan::Object& planned);
  Status MakePlaceholder(ObjectId object, meta::Kind kind);
  void NoteLost(ObjectId object);
  Status CopyStaged(const DataRecord& record, uint64_t length, int fd);
  // Opens the file for what digests_ has to read of it.
  ContentDigests::Opener OpenerOf(ObjectId object) {
    return [this, object] { return OpenForWriting(object); };
  }
  // Makes a new object, without content: where it will be, or in hold/.
  Status Make(ObjectId object, const meta::Attributes& attributes);
  Result<bool> MakeInPlace(ObjectId object, const meta::Attributes& attributes);
  // Moves its staged file to hold/, unless an earlier redo has moved it already.
  Status MoveIn(ObjectId object, InodeId file, const meta::Attributes& attributes);
  bool TakeSpare(const std::string& name);
  struct Made {
    InodeId inode;
    UniqueFd fd;  // open for writing, if it is a file
  };
  Result<Made> MakeNode(int directory_fd, const std::string& name,
                        const meta::Attributes& attributes);
  static Result<Made> MakeFile(int directory_fd, const std::string& name, mode_t mode);
  static Result<Made> FindMade(int directory_fd, const std::string& name, meta::Kind kind);
  void KeepOpen(Active& active, UniqueFd fd);
  Status Truncate(ObjectId object);
  Status Shrink(ObjectId object, uint64_t size);
  Result<UniqueFd> OpenPath(ObjectId object);
  Result<int> OpenForWriting(ObjectId object);
  Status Complete(ObjectId object);
  // Says in the log which old content was not what the digests say.
  Status NoteMismatch(ObjectId object);
  // Removes from the table of damaged objects what the records have made right.
  Status SettleDamage(ObjectId object);
  Result<meta::Attributes> FinalAttributes(ObjectId object, Active& active);
  Status SetSize(ObjectId object, int path_fd, uint64_t size);

  RedoState& state_;
  ContentDigests digests_;
  bool some_are_damaged_ = false;  // of the catalog's objects
  const Stage* stage_ = nullptr;   // the stage being read
  std::unordered_map<ObjectId, Active> active_;
  size_t open_files_ = 0;
  std::unordered_map<ObjectId, meta::Attributes> directories_;
};

}  // namespace tandem::replica
