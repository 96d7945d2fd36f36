// The third and fourth step of a redo; see replica/apply/redo.h. Moves objects from hold/ to their
// names, and removes those that have none. One thread.
#pragma once

#include "replica/apply/redo.h"
#include "replica/apply/redo_content.h"

namespace tandem::replica {

class Placer {
 public:
  Placer(RedoState& state, ContentWriter& content) : state_(state), content_(content) {}
  Status PlaceAll();
  Status RemoveRest();

 private:
  Status FindLost();
  Status MakeLost(ObjectId object);
  Status Place(ObjectId object);
  Status PlaceAt(ObjectId object, const EntryKey& key, bool last);
  Result<Tree::Directory> OpenParent(ObjectId directory);
  Status CheckNotOneName(const UniqueFd& parent, const EntryKey& key,
                         const std::optional<InodeId>& standing);
  Status ReportStrangersIn(int directory_fd, const std::vector<std::string>& names);

  RedoState& state_;
  ContentWriter& content_;
};

}  // namespace tandem::replica
