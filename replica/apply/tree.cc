#include "replica/apply/tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "meta/base/fd_path.h"
#include "meta/change/file_handle.h"
#include "meta/source/attributes.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

// What stands at a name and cannot be read may be the object, or something else.
bool MayBeElsewhere(const Result<UniqueFd>& opened) {
  return opened ? !opened->valid() : MeansDamaged(opened.error());
}

UniqueFd Duplicate(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

}  // namespace

Result<UniqueFd> OpenBeneath(int directory_fd, const std::string& name, int flags) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  // With O_PATH and O_NOFOLLOW a trailing symbolic link is opened, not followed;
  // RESOLVE_NO_SYMLINKS allows that.
  const long fd = syscall(SYS_openat2, directory_fd, name.c_str(), &how, sizeof how);
  if (fd < 0) return ErrnoError("open " + name);
  return UniqueFd(static_cast<int>(fd));
}

bool MeansAbsent(const Error& error) {
  // The last two: the filesystem has no such names.
  constexpr std::array kCodes = {ENOENT, ENOTDIR, ELOOP, EXDEV, ESTALE, EILSEQ, ENAMETOOLONG};
  return std::ranges::count(kCodes, error.code()) != 0;
}

bool MeansDamaged(const Error& error) {
  constexpr std::array kCodes = {EIO, EUCLEAN, EBADMSG};
  return error.kind() == ErrorKind::kSystem && std::ranges::count(kCodes, error.code()) != 0;
}

Result<std::optional<InodeId>> InodeAt(int directory_fd, const std::string& name) {
  auto identified = Identify(directory_fd, name.c_str(), kInodeIds);
  if (identified) return InodeId{identified->id};
  if (MeansAbsent(identified.error())) return std::nullopt;
  return tl::unexpected<Error>(std::move(identified.error()));
}

namespace {

// The owner may change the mode, so the right is granted while this runs. Returns -1 and sets errno
// on failure.
int OpenWithRights(const FdPath& path, int flags) {
  struct stat stat_buffer;
  if (stat(path.c_str(), &stat_buffer) != 0) return -1;
  const mode_t mode = stat_buffer.st_mode & 07777;
  if (chmod(path.c_str(), mode | 0700) != 0) {
    errno = EACCES;
    return -1;
  }
  const int fd = open(path.c_str(), flags);
  const int code = errno;
  (void)!chmod(path.c_str(), mode);
  errno = code;
  return fd;
}

}  // namespace

Result<UniqueFd> Reopen(int path_fd, int flags) {
  struct stat found;
  if (fstat(path_fd, &found) != 0) return ErrnoError("stat");
  if (!S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode)) {
    return ErrnoError(EINVAL, "open something that is neither a file nor a directory");
  }
  const FdPath path(path_fd);
  flags |= O_CLOEXEC | O_NOATIME | O_NONBLOCK;
  int fd = open(path.c_str(), flags);
  if (fd < 0 && errno == EPERM) fd = open(path.c_str(), flags & ~O_NOATIME);
  if (fd < 0 && errno == EACCES) fd = OpenWithRights(path, flags);
  if (fd < 0) return ErrnoError("open");
  return UniqueFd(fd);
}

Result<meta::Attributes> ReadWithRights(int path_fd, meta::WithXattrs with_xattrs) {
  auto read = meta::ReadAttributes(path_fd, with_xattrs);
  if (read || read.error().code() != EACCES || geteuid() == 0) return read;
  struct stat stat_buffer;
  if (fstatat(path_fd, "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  const FdPath path(path_fd);
  const mode_t mode = stat_buffer.st_mode & 07777;
  if (chmod(path.c_str(), mode | 0400) != 0) return read;
  read = meta::ReadAttributes(path_fd, with_xattrs);
  if (chmod(path.c_str(), mode) != 0) return ErrnoError("set mode");
  if (read) read->permissions = mode;
  return read;
}

Result<std::optional<mode_t>> MakeAccessible(int path_fd) {
  if (geteuid() == 0) return std::nullopt;
  struct stat stat_buffer;
  if (fstatat(path_fd, "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  if (!S_ISDIR(stat_buffer.st_mode) || (stat_buffer.st_mode & 0700) == 0700) return std::nullopt;
  const mode_t mode = stat_buffer.st_mode & 07777;
  if (chmod(FdPath(path_fd).c_str(), mode | 0700) != 0) {
    return ErrnoError("make directory accessible");
  }
  return mode;
}

Tree::Tree(int root_fd, int hold_fd, Catalog& catalog)
    : hold_fd_(hold_fd),
      catalog_(catalog),
      root_(std::make_shared<const UniqueFd>(Duplicate(root_fd))),
      hold_(std::make_shared<const UniqueFd>(Duplicate(hold_fd))) {}

Tree::~Tree() {
  for (const auto& [object, loosened] : loosened_) {
    (void)!chmod(FdPath(loosened.directory->get()).c_str(), loosened.mode);
  }
}

std::unordered_set<ObjectId> Tree::TakeLoosened() {
  std::unordered_set<ObjectId> objects;
  for (const auto& [object, loosened] : loosened_) objects.insert(object);
  loosened_.clear();
  return objects;
}

// Beyond kMaxLoosened directories keep the changed mode until a cut changes them.
Status Tree::Loosen(const Directory& directory, ObjectId object) {
  ASSIGN_OR_RETURN(const auto mode, MakeAccessible(directory->get()));
  if (mode && loosened_.size() < kMaxLoosened)
    loosened_.try_emplace(object, Loosened{directory, *mode});
  return {};
}

Result<std::optional<InodeId>> Tree::InodeOf(ObjectId object) {
  if (const auto known = inodes_.find(object); known != inodes_.end()) return known->second;
  ASSIGN_OR_RETURN(const auto row, catalog_.Find(object));
  if (!row) return std::nullopt;
  return row->inode;
}

Result<std::optional<Tree::Place>> Tree::PlaceOf(ObjectId object) {
  if (const auto moved = moved_.find(object); moved != moved_.end()) return moved->second;
  ASSIGN_OR_RETURN(auto names, catalog_.NamesOf(object));
  if (names.empty()) return std::nullopt;
  return Place{false, std::move(names.front())};
}

Result<UniqueFd> Tree::OpenAt(int directory_fd, const std::string& name, ObjectId object,
                              int flags) {
  ASSIGN_OR_RETURN(const auto expected, InodeOf(object));
  if (!expected) return UniqueFd();
  auto fd = OpenBeneath(directory_fd, name, O_PATH | flags);
  if (!fd && MeansAbsent(fd.error())) return UniqueFd();
  if (!fd) return fd;
  ASSIGN_OR_RETURN(const auto inode, InodeAt(fd->get(), ""));
  if (inode != expected) return UniqueFd();
  return fd;
}

Result<Tree::Directory> Tree::Enter(const Directory& parent, const std::string& name,
                                    ObjectId object) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(parent->get(), name, object, O_DIRECTORY));
  if (!fd.valid()) return Directory();
  auto directory = std::make_shared<const UniqueFd>(std::move(fd));
  RETURN_IF_ERROR(Loosen(directory, object));
  if (open_.size() >= kMaxOpenDirectories) open_.clear();
  open_[object] = directory;
  return directory;
}

Result<Tree::Directory> Tree::OpenDirectory(ObjectId directory) {
  std::vector<std::pair<ObjectId, std::string>> way;  // from `directory` upward
  Directory at;
  for (ObjectId current = directory; at == nullptr;) {
    if (current == kRootObject) {
      at = root_;
      RETURN_IF_ERROR(Loosen(root_, kRootObject));
    } else if (const auto open = open_.find(current); open != open_.end()) {
      at = open->second;
    } else {
      ASSIGN_OR_RETURN(auto place, PlaceOf(current));
      if (!place || way.size() > kMaxTreeDepth) return Directory();
      way.emplace_back(current, place->held ? HoldName(current) : std::move(place->key.name));
      if (place->held) at = hold_;
      current = place->key.parent;
    }
  }
  for (auto step = way.rbegin(); step != way.rend(); ++step) {
    auto next = Enter(at, step->second, step->first);
    const bool is_there = next ? *next != nullptr : !MeansDamaged(next.error());
    // A directory that cannot have its name stays in hold/.
    if (!is_there) {
      ASSIGN_OR_RETURN(Directory held, Enter(hold_, HoldName(step->first), step->first));
      if (held != nullptr || next) next = std::move(held);
    }
    if (!next || *next == nullptr) return next;
    at = std::move(*next);
  }
  return at;
}

Result<UniqueFd> Tree::OpenObject(ObjectId object) {
  if (object == kRootObject) return Duplicate(root_->get());
  std::vector<EntryKey> names;
  if (const auto moved = moved_.find(object); moved != moved_.end()) {
    if (moved->second.held) return OpenAt(hold_fd_, HoldName(object), object, 0);
    names.push_back(moved->second.key);
  } else {
    // There may be tens of thousands, and the first one usually leads to it.
    ASSIGN_OR_RETURN(names, catalog_.NamesOf(object, 1));
  }
  auto fd = OpenAtOneOf(names, object);
  if (MayBeElsewhere(fd) && names.size() == 1 && !moved_.contains(object)) {
    ASSIGN_OR_RETURN(names, catalog_.NamesOf(object));
    fd = OpenAtOneOf(names, object);
  }
  if (!MayBeElsewhere(fd)) return fd;
  ASSIGN_OR_RETURN(UniqueFd held, OpenAt(hold_fd_, HoldName(object), object, 0));
  if (held.valid()) return held;
  return fd;
}

Result<UniqueFd> Tree::OpenReadable(ObjectId object) {
  auto fd = OpenObject(object);
  if (!fd && MeansDamaged(fd.error())) return UniqueFd();
  return fd;
}

Result<UniqueFd> Tree::OpenAtOneOf(const std::vector<EntryKey>& names, ObjectId object) {
  Result<UniqueFd> nowhere = UniqueFd();
  for (const EntryKey& key : names) {
    auto fd = [&]() -> Result<UniqueFd> {
      ASSIGN_OR_RETURN(const Directory parent, OpenDirectory(key.parent));
      if (parent == nullptr) return UniqueFd();
      return OpenAt(parent->get(), key.name, object, 0);
    }();
    if (!MayBeElsewhere(fd)) return fd;
    if (!fd) nowhere = std::move(fd);
  }
  return nowhere;
}

void Tree::Held(ObjectId object, InodeId inode) {
  moved_[object] = {true, {}};
  inodes_[object] = inode;
  open_.erase(object);
}

void Tree::Placed(ObjectId object, const EntryKey& key, InodeId inode) {
  moved_[object] = {false, key};
  inodes_[object] = inode;
}

void Tree::Forget(ObjectId object) {
  moved_.erase(object);
  inodes_.erase(object);
}

}  // namespace tandem::replica
