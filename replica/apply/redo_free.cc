#include "replica/apply/redo_free.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "meta/base/fault_point.h"
#include "replica/apply/room.h"
#include "replica/apply/tree_path.h"

namespace tandem::replica {
namespace {

class Freeing {
 public:
  explicit Freeing(RedoState& state) : state_(state) {}

  // Removes files first, then directories, deepest first. A directory with objects that stay, or
  // that are not the replica's, is left to the following steps.
  Status RemoveDead() {
    std::vector<std::pair<size_t, ObjectId>> directories;
    for (const ObjectId object : state_.plan.dead()) {
      RETURN_IF_ERROR(state_.CheckStopping());
      ASSIGN_OR_RETURN(const auto kind, state_.place.catalog.FindKind(object));
      if (kind == meta::Kind::kDirectory) {
        ASSIGN_OR_RETURN(const size_t depth, depths_.Of(object));
        directories.emplace_back(depth, object);
      } else {
        RETURN_IF_ERROR(Remove(object, 0));
      }
    }
    std::ranges::sort(directories, std::greater<>());
    for (const auto& [depth, object] : directories) {
      RETURN_IF_ERROR(Remove(object, AT_REMOVEDIR));
    }
    return {};
  }

  Status CutFiles(const std::vector<std::shared_ptr<Stage>>& stages) {
    ASSIGN_OR_RETURN(const auto sizes, FinalSizes(state_.plan, stages));
    for (const auto& [object, size] : sizes) {
      RETURN_IF_ERROR(state_.CheckStopping());
      ASSIGN_OR_RETURN(const UniqueFd path_fd, state_.tree.OpenReadable(object));
      struct stat now = {};
      if (!path_fd.valid() || fstatat(path_fd.get(), "", &now, AT_EMPTY_PATH) != 0) continue;
      if (!S_ISREG(now.st_mode) || static_cast<uint64_t>(now.st_size) <= size) continue;
      const auto fd = Reopen(path_fd.get(), O_RDWR);
      if (!fd && MeansDamaged(fd.error())) continue;
      if (!fd) return tl::unexpected<Error>(fd.error());
      if (ftruncate(fd->get(), static_cast<off_t>(size)) != 0)
        return ErrnoError("cut a file short");
      FAULT_POINT("replica.redo.freed");
    }
    return {};
  }

 private:
  Status Remove(ObjectId object, int flags) {
    if (state_.held.contains(object)) {
      const int hold_fd = state_.tree.hold_fd();
      return RemoveAt(hold_fd, Tree::HoldName(object), flags);
    }
    ASSIGN_OR_RETURN(const auto inode, state_.tree.InodeOf(object));
    ASSIGN_OR_RETURN(const auto names, state_.place.catalog.NamesOf(object));
    for (const EntryKey& key : names) {
      auto removed = inode ? RemoveIfThere(*inode, key, flags) : Status();
      if (!removed && !MeansDamaged(removed.error())) return removed;
    }
    return {};
  }

  // What cannot be read is left to the following steps.
  Status RemoveIfThere(InodeId inode, const EntryKey& key, int flags) {
    ASSIGN_OR_RETURN(const Tree::Directory parent, state_.tree.OpenDirectory(key.parent));
    if (parent == nullptr) return {};
    ASSIGN_OR_RETURN(const auto standing, InodeAt(parent->get(), key.name));
    if (standing != inode) return {};
    RETURN_IF_ERROR(MakeAccessible(parent->get()));
    state_.touched.insert(key.parent);
    return RemoveAt(parent->get(), key.name, flags);
  }

  static Status RemoveAt(int directory_fd, const std::string& name, int flags) {
    if (unlinkat(directory_fd, name.c_str(), flags) == 0) {
      FAULT_POINT("replica.redo.freed");
      return {};
    }
    // EISDIR, ENOTDIR, EPERM: an inode of another kind stands for the object.
    constexpr int kLeft[] = {ENOENT, ENOTEMPTY, EEXIST, EISDIR, ENOTDIR, EPERM};
    if (std::ranges::find(kLeft, errno) != std::end(kLeft)) return {};
    return ErrnoError("remove " + name);
  }

  RedoState& state_;
  Depths depths_{[this](ObjectId object) { return state_.place.catalog.NamesOf(object); }};
};

}  // namespace

Status FreeRoomFirst(RedoState& state, const std::vector<std::shared_ptr<Stage>>& stages) {
  Freeing freeing(state);
  RETURN_IF_ERROR(freeing.RemoveDead());
  RETURN_IF_ERROR(freeing.CutFiles(stages));
  FAULT_POINT("replica.redo.freed_all");
  return {};
}

}  // namespace tandem::replica
