#include "tools/store_guard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "meta/base/fd_path.h"
#include "meta/base/mount_table.h"
#include "meta/base/unique_fd.h"
#include "meta/source/attributes.h"
#include "replica/apply/marker.h"
#include "replica/apply/removal.h"
#include "replica/store/store_layout.h"

namespace tandem::tools {
namespace {

constexpr char kLock[] = ".lock";

UniqueFd OpenDirectory(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

UniqueFd OpenAt(int directory_fd, const char* name) {
  return UniqueFd(openat(directory_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

std::string PathOf(int fd) {
  std::error_code error;
  return std::filesystem::read_symlink(FdPath(fd).c_str(), error).string();
}

bool IsSame(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool IsVolume(int directory_fd) {
  const UniqueFd readable(openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat tree;
  return readable.valid() && fstatat(directory_fd, "tree", &tree, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISDIR(tree.st_mode) && replica::ReadIdentity(readable.get()).has_value();
}

// Returns the process that holds the store's lock, from /proc/locks ("1: FLOCK ADVISORY WRITE PID
// MAJOR:MINOR:INODE 0 EOF"). To try the lock could make a tandemd that starts fail to get it.
std::optional<std::string> HolderOf(int store_fd) {
  struct stat lock;
  if (fstatat(store_fd, kLock, &lock, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  char wanted[64];
  snprintf(wanted, sizeof wanted, "%02x:%02x:%lu", major(lock.st_dev), minor(lock.st_dev),
           static_cast<unsigned long>(lock.st_ino));
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream fields(line);
    std::string number, type, kind, access, process, file;
    fields >> number >> type >> kind >> access >> process >> file;
    if (type == "FLOCK" && file == wanted) return process;
  }
  return std::nullopt;
}

// Returns whether the directory holds the volumes of an account (replica/STORE.md). Its marker
// alone is no sign: other programs call files so, too.
bool IsAccount(int directory_fd) {
  if (!replica::IsAccountDirectory(directory_fd)) return false;
  const UniqueFd above(openat(directory_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat lock;
  return above.valid() && fstatat(above.get(), kLock, &lock, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(lock.st_mode);
}

// Returns whether the directory is a store: a tandemd holds its lock, or it has a volume, or an
// account's directory.
bool IsStore(int directory_fd) {
  struct stat lock;
  if (fstatat(directory_fd, kLock, &lock, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(lock.st_mode)) {
    return false;
  }
  if (const auto holder = HolderOf(directory_fd)) {
    std::string name;
    std::getline(std::ifstream("/proc/" + *holder + "/comm"), name);
    if (name == "tandemd") return true;
  }
  const auto names = replica::NamesIn(directory_fd);
  if (!names) return false;
  for (const std::string& name : *names) {
    const UniqueFd child(
        openat(directory_fd, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (child.valid() && (IsVolume(child.get()) || IsAccount(child.get()))) return true;
  }
  return false;
}

// Returns the store that is `directory` or contains it; invalid if there is none.
UniqueFd FindStoreAbove(UniqueFd directory) {
  struct stat here;
  while (directory.valid() && fstat(directory.get(), &here) == 0) {
    UniqueFd parent = OpenAt(directory.get(), "..");
    if (IsStore(directory.get())) return directory;
    if (IsAccount(directory.get())) return parent;
    if (IsVolume(directory.get())) {
      if (!parent.valid() || !IsAccount(parent.get())) return parent;
      return OpenAt(parent.get(), "..");
    }
    struct stat above;
    if (!parent.valid() || fstat(parent.get(), &above) != 0 || IsSame(here, above)) break;
    directory = std::move(parent);
  }
  return {};
}

// Opens the same directory by other mounts of its filesystem, where its parents are others.
std::vector<UniqueFd> OtherWaysTo(int directory_fd) {
  std::vector<UniqueFd> ways;
  struct stat wanted;
  const auto id = MountIdOf(directory_fd);
  const auto mounts = ReadMountTable();
  if (!id || !mounts || fstat(directory_fd, &wanted) != 0) return ways;
  const std::string path = PathOf(directory_fd);
  const auto below = [](const std::string& whole, const std::string& part) {
    if (part == "/") return std::optional(whole);
    const bool is_below = whole == part || whole.starts_with(part + "/");
    return is_below ? std::optional(whole.substr(part.size())) : std::nullopt;
  };
  const auto own = std::ranges::find(*mounts, *id, &MountedFilesystem::id);
  if (own == mounts->end()) return ways;
  const auto rest = below(path, own->path);
  if (!rest) return ways;
  const std::string inside = own->root == "/" ? *rest : own->root + *rest;
  for (const MountedFilesystem& mount : *mounts) {
    const auto there = below(inside, mount.root);
    if (mount.id == *id || mount.device != own->device || !there) continue;
    UniqueFd way = OpenDirectory(mount.path + "/" + *there);
    struct stat found;
    if (way.valid() && fstat(way.get(), &found) == 0 && IsSame(found, wanted)) {
      ways.push_back(std::move(way));
    }
  }
  return ways;
}

Status Check(UniqueFd directory, const std::string& what) {
  std::vector<UniqueFd> ways = OtherWaysTo(directory.get());
  ways.push_back(std::move(directory));
  for (UniqueFd& way : ways) {
    const UniqueFd store = FindStoreAbove(std::move(way));
    if (!store.valid()) continue;
    const auto holder = HolderOf(store.get());
    return MakeError(ErrorKind::kUsage,
                     what + " is inside " + PathOf(store.get()) + ", where tandemd keeps replicas" +
                         (holder ? " (process " + *holder + " is serving them)" : "") +
                         ": a change made there is in no cut, and the next one overwrites it. "
                         "Choose another directory; to use a replica's files, copy its tree/");
  }
  return {};
}

}  // namespace

Status CheckOutsideStores(int source_fd, const std::string& source, const std::string& mountpoint) {
  RETURN_IF_ERROR(Check(OpenAt(source_fd, "."), "source " + source));
  // The mountpoint may be covered by a dead mount or another filesystem, so its parent is checked
  // too.
  RETURN_IF_ERROR(Check(OpenDirectory(mountpoint), "mountpoint " + mountpoint));
  const std::string parent = std::filesystem::path(mountpoint).parent_path();
  return Check(OpenDirectory(parent), "mountpoint " + mountpoint);
}

}  // namespace tandem::tools
