// The second step of a redo; see replica/apply/redo.h. Goes through all records of the stages in
// order: makes new objects in hold/, writes data, and completes each file with its size and
// attributes after its last record. Attributes of directories are kept for the last step. What the
// catalog is to say of each object goes to the open transaction at once.
#pragma once

#include <map>
#include <string>
#include <unordered_map>

#include "replica/apply/redo.h"

namespace tandem::replica {

class ContentWriter {
 public:
  explicit ContentWriter(RedoState& state) : state_(state) {}
  Status Run(const std::vector<std::shared_ptr<Stage>>& stages);

  // An object the catalog knows but the tree does not have (somebody took it away) is made again,
  // in hold/, without content, and noted as lost.
  Status MakeLost(ObjectId object);
  // What the directories that have records shall look like.
  const std::unordered_map<ObjectId, meta::Attributes>& directories() const { return directories_; }

 private:
  // An object whose records are being gone through.
  struct Active {
    UniqueFd fd;  // open for writing once data came
    std::optional<meta::Attributes> attributes;
    std::optional<meta::Xattrs> xattrs;
  };

  Status Take(const Record& record, uint64_t position);
  bool ComesAsFile(const Plan::Object& planned) const;
  Status Take(const ObjectRecord& record, const Plan::Object& planned, uint64_t position);
  Status Take(const DataRecord& record, const Plan::Object& planned, uint64_t position);
  // It stays as it is; one that is not there yet becomes an empty file.
  Status LeaveShort(ObjectId object, const Plan::Object& planned);
  Status MakePlaceholder(ObjectId object, meta::Kind kind);
  void NoteLost(ObjectId object);
  Status CopyStaged(ObjectId object, ByteRange range, int fd);
  Status Make(ObjectId object, const meta::Attributes& attributes);
  // Its file goes to hold/, unless the redo before has moved it already.
  Status MoveIn(ObjectId object, InodeId file, const meta::Attributes& attributes);
  bool TakeSpare(const std::string& name);
  Status MakeNode(const std::string& name, const meta::Attributes& attributes);
  Status Truncate(ObjectId object);
  Status Shrink(ObjectId object, uint64_t size);
  Result<UniqueFd> OpenPath(ObjectId object);
  Result<int> OpenForWriting(ObjectId object);
  Status Complete(ObjectId object);
  Result<meta::Attributes> FinalAttributes(ObjectId object, Active& active);
  Status SetSize(ObjectId object, int path_fd, uint64_t size);

  RedoState& state_;
  const Stage* stage_ = nullptr;  // the one being gone through
  std::unordered_map<ObjectId, Active> active_;
  size_t open_files_ = 0;
  std::unordered_map<ObjectId, meta::Attributes> directories_;
};

}  // namespace tandem::replica
