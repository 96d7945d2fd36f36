#include "replica/apply/removal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "meta/base/ids.h"
#include "meta/source/directory_names.h"
#include "replica/apply/tree.h"

namespace tandem::replica {
namespace {

// Moves a directory to a fresh name in hold/.
Result<std::string> SetAside(int hold_fd, int directory_fd, const std::string& name) {
  const std::string aside = ".trash-" + ObjectId::Random().ToHex();
  ASSIGN_OR_RETURN(const UniqueFd moved, OpenBeneath(directory_fd, name, O_PATH | O_DIRECTORY));
  // Moving a directory writes its "..".
  RETURN_IF_ERROR(MakeAccessible(moved.get()));
  if (renameat(directory_fd, name.c_str(), hold_fd, aside.c_str()) != 0) {
    return ErrnoError("set aside " + name);
  }
  return aside;
}

// Removes a file or an empty directory. Returns false if it is a directory that is not empty.
Result<bool> RemoveSimple(int directory_fd, const std::string& name) {
  if (unlinkat(directory_fd, name.c_str(), 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR && errno != EPERM) return ErrnoError("remove " + name);
  if (unlinkat(directory_fd, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
  if (errno != ENOTEMPTY && errno != EEXIST) return ErrnoError("remove directory " + name);
  return false;
}

// Returns true if the name is gone from the directory.
Result<bool> TakeOut(int hold_fd, int directory_fd, const std::string& name, const Rescue& rescue,
                     std::vector<std::string>& queue) {
  const Status taken = [&]() -> Status {
    if (rescue) {
      ASSIGN_OR_RETURN(const bool rescued, rescue(directory_fd, name));
      if (rescued) return {};
    }
    ASSIGN_OR_RETURN(const bool removed, RemoveSimple(directory_fd, name));
    if (removed) return {};
    ASSIGN_OR_RETURN(std::string aside, SetAside(hold_fd, directory_fd, name));
    queue.push_back(std::move(aside));
    return {};
  }();
  if (!taken && !MeansDamaged(taken.error())) return tl::unexpected<Error>(taken.error());
  return taken.has_value();
}

Status Empty(int hold_fd, const std::string& name, const Rescue& rescue, const Census& census,
             std::vector<std::string>& queue) {
  ASSIGN_OR_RETURN(const UniqueFd path_fd, OpenBeneath(hold_fd, name, O_PATH | O_DIRECTORY));
  RETURN_IF_ERROR(MakeAccessible(path_fd.get()));
  ASSIGN_OR_RETURN(const auto children, NamesIn(path_fd.get()));
  if (census) RETURN_IF_ERROR(census(path_fd.get(), children));
  bool is_empty = true;
  for (const std::string& child : children) {
    ASSIGN_OR_RETURN(const bool gone, TakeOut(hold_fd, path_fd.get(), child, rescue, queue));
    is_empty &= gone;
  }
  if (!is_empty) return {};
  if (unlinkat(hold_fd, name.c_str(), AT_REMOVEDIR) != 0) {
    return ErrnoError("remove directory " + name);
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> NamesIn(int directory_fd) {
  ASSIGN_OR_RETURN(UniqueFd fd, Reopen(directory_fd, O_RDONLY | O_DIRECTORY));
  return meta::NamesFrom(std::move(fd));
}

Status RemoveAll(int hold_fd, int directory_fd, const std::string& name, const Rescue& rescue,
                 const Census& census) {
  ASSIGN_OR_RETURN(const bool removed, RemoveSimple(directory_fd, name));
  if (removed) return {};
  ASSIGN_OR_RETURN(std::string aside, SetAside(hold_fd, directory_fd, name));
  std::vector<std::string> queue = {std::move(aside)};
  while (!queue.empty()) {
    const std::string next = std::move(queue.back());
    queue.pop_back();
    auto emptied = Empty(hold_fd, next, rescue, census, queue);
    if (!emptied && !MeansDamaged(emptied.error())) return emptied;
  }
  return {};
}

}  // namespace tandem::replica
