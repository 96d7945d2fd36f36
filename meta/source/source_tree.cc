#include "meta/source/source_tree.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "meta/base/fd_path.h"
#include "meta/base/read_at.h"
#include "meta/source/directory_names.h"
#include "meta/source/slow_disk.h"

namespace tandem::meta {
bool IsForbidden(const Error& error) {
  return error.kind() == ErrorKind::kSystem && (error.code() == EACCES || error.code() == EPERM);
}

bool IsGone(const Error& error) {
  return error.code() == ENOENT || error.code() == ESTALE || error.code() == ENOTDIR;
}

bool IsUnreadable(const Error& error) {
  // E2BIG: the object has more extended attributes than can be listed or sent.
  constexpr std::array kCodes = {EIO, EUCLEAN, EBADMSG, ENODATA, EILSEQ, E2BIG};
  const bool its_own =
      error.kind() == ErrorKind::kSystem && std::ranges::count(kCodes, error.code()) != 0;
  return its_own || IsForbidden(error);
}

Result<Attributes> SourceObject::ReadAttributes(WithXattrs with_xattrs) const {
  return meta::ReadAttributes(path_fd_.get(), with_xattrs);
}

Result<int> SourceObject::ContentFd() {
  if (content_fd_.valid()) return content_fd_.get();
  const FdPath path(path_fd_.get());
  content_fd_.Reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOATIME));
  if (!content_fd_.valid() && errno == EPERM) {
    content_fd_.Reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }
  if (!content_fd_.valid()) return ErrnoError("open for reading");
  return content_fd_.get();
}

Result<size_t> SourceObject::Read(uint64_t offset, std::span<char> buffer) {
  ASSIGN_OR_RETURN(const int fd, ContentFd());
  return ReadAt(fd, offset, buffer);
}

namespace {

// Measures how long a search for holes takes. lseek waits for the inode's lock, which a writer
// holds while it waits for the disk: on a slow disk, most of the time. For a while after a slow
// search, ReadLayout does not search files that have at least as many blocks as bytes; then it also
// reports allocated but unwritten ranges as data.
class HoleSearch {
 public:
  ~HoleSearch() {
    const auto now = SlowDisk::Clock::now();
    if (now - begun_ >= kLong) Seen().Note(now - begun_, now);
  }
  static bool IsSlow() { return Seen().IsSlow(); }

 private:
  static constexpr std::chrono::milliseconds kLong{50};
  static SlowDisk& Seen() {
    static SlowDisk seen;
    return seen;
  }

  const SlowDisk::Clock::time_point begun_ = SlowDisk::Clock::now();
};

// Returns the part of `range` below the file's end if the file probably has no holes.
std::optional<ByteRange> WithoutHoles(int fd, ByteRange range) {
  constexpr uint64_t kBlock = 512;  // the unit of st_blocks
  struct stat now;
  if (fstat(fd, &now) != 0) return std::nullopt;
  const auto size = static_cast<uint64_t>(now.st_size);
  if (static_cast<uint64_t>(now.st_blocks) * kBlock < size) return std::nullopt;
  return ByteRange{range.start, std::min(range.end, size)};
}

}  // namespace

Result<Layout> SourceObject::ReadLayout(ByteRange range, size_t limit) {
  ASSIGN_OR_RETURN(const int fd, ContentFd());
  Layout layout;
  if (HoleSearch::IsSlow()) {
    if (const auto part = WithoutHoles(fd, range)) {
      if (!part->empty()) layout.data.push_back(*part);
      layout.end = range.end;
      return layout;
    }
  }
  const HoleSearch search;
  uint64_t at = range.start;
  while (at < range.end && layout.data.size() < limit) {
    const off_t data = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) break;  // only a hole follows, or `at` is beyond the end
      return ErrnoError("seek data");
    }
    if (static_cast<uint64_t>(data) >= range.end) break;
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0) {
      if (errno == ENXIO) break;  // the file was truncated meanwhile
      return ErrnoError("seek hole");
    }
    const ByteRange part{static_cast<uint64_t>(data),
                         std::min(static_cast<uint64_t>(hole), range.end)};
    if (part.empty()) break;
    layout.data.push_back(part);
    at = part.end;
  }
  const bool stopped_short = layout.data.size() == limit && at < range.end;
  layout.end = stopped_short ? at : range.end;
  return layout;
}

Result<SourceTree> SourceTree::Open(int root_fd) {
  ASSIGN_OR_RETURN(IdentifiedObject root, Identify(root_fd, ""));
  SourceTree tree(root_fd, ObjectRef{kRootObject, std::move(root.handle)}, root.mount_id);
  tree.ProbeFilesystem();
  return tree;
}

void SourceTree::ProbeFilesystem() {
  std::string why;
  if (root_.handle.empty()) {
    struct statx attributes = {};
    const bool has_birth_time = statx(root_fd_, "", AT_EMPTY_PATH, STATX_BTIME, &attributes) == 0 &&
                                (attributes.stx_mask & STATX_BTIME) != 0;
    notices_.push_back(
        std::string("its filesystem has no file handles: objects are identified by inode number ") +
        (has_birth_time ? "and birth time" : "alone (it has no birth times either)") +
        ", so a new object that gets the number of one just removed may be taken for it; tandem "
        "verify finds the difference");
    why = "there are none";
  } else {
    // open_by_handle_at does not accept an O_PATH descriptor, so open the root for reading.
    const UniqueFd readable(openat(root_fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto opened = OpenByHandle(readable.get(), root_.handle, O_PATH);
    if (opened) return;
    const bool may_not = opened.error().code() == EPERM || opened.error().code() == EBADF;
    why = may_not ? "the process lacks CAP_DAC_READ_SEARCH" : "the filesystem does not support it";
  }
  notices_.push_back("objects cannot be opened by their file handles (" + why +
                     "): they are found by their names");
  by_names_ = std::make_unique<NameResolver>(root_fd_, mount_id_);
  struct statfs filesystem;
  ids_may_change_ =
      fstatfs(root_fd_, &filesystem) == 0 && filesystem.f_type == OVERLAYFS_SUPER_MAGIC;
}

Result<std::optional<UniqueFd>> SourceTree::OpenPath(const ObjectRef& object, Effort effort) const {
  if (object.id == kRootObject) {
    UniqueFd fd(openat(root_fd_, ".", O_PATH | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError("open root of source");
    return fd;
  }
  if (by_names_ != nullptr) return by_names_->Open(object.id, effort);
  auto fd = OpenByHandle(root_fd_, object.handle, O_PATH | O_NOFOLLOW);
  if (fd) return std::move(*fd);
  if (fd.error().code() == ESTALE || fd.error().code() == ENOENT) return std::nullopt;
  return tl::unexpected<Error>(std::move(fd.error()));
}

void SourceTree::NoteNameIfForgotten(const ObjectId& object, const ObjectId& parent,
                                     const std::string& name) const {
  if (by_names_ == nullptr || name.empty()) return;
  Whereabouts& whereabouts = by_names_->whereabouts();
  // On an overlay, names that led to one file of the lower layer may lead to different files by
  // now. So note this name even if others are known.
  if (ids_may_change_ || whereabouts.Find(object).version == 0) {
    whereabouts.Note(object, parent, name);
  }
}

Status SourceTree::Sync() const {
  if (syncfs(root_fd_) != 0) return ErrnoError("sync the filesystem of source");
  return {};
}

std::optional<uint64_t> SourceTree::SizeOf(const ObjectRef& object) const {
  const auto fd = OpenPath(object, Effort::kAtOnce);
  struct stat stat_buffer;
  if (!fd || !*fd || fstatat((*fd)->get(), "", &stat_buffer, AT_EMPTY_PATH) != 0) {
    return std::nullopt;
  }
  return static_cast<uint64_t>(stat_buffer.st_size);
}

std::string SourceTree::PathOf(const ObjectRef& object) const {
  const auto fd = OpenPath(object, Effort::kAtOnce);
  if (!fd) return "an object that cannot be opened";
  if (!*fd) return "an object that is gone";
  const auto path_of = [](int descriptor) {
    std::array<char, PATH_MAX> path;
    const ssize_t length = readlink(FdPath(descriptor).c_str(), path.data(), path.size());
    return std::string(path.data(), length < 0 ? 0 : static_cast<size_t>(length));
  };
  std::string path = path_of((*fd)->get());
  // A file that was opened by its handle may have a dentry that is not connected to the root.
  if (path.starts_with(path_of(root_fd_) + "/")) return path;
  struct stat stat_buffer = {};
  (void)fstatat((*fd)->get(), "", &stat_buffer, AT_EMPTY_PATH);
  return "the file with inode number " + std::to_string(stat_buffer.st_ino);
}

Result<std::optional<SourceObject>> SourceTree::Open(const ObjectRef& object, Effort effort) const {
  ASSIGN_OR_RETURN(std::optional<UniqueFd> fd, OpenPath(object, effort));
  if (!fd) return std::nullopt;
  return SourceObject(std::move(*fd));
}

Result<std::optional<SourceObject>> SourceTree::OpenListed(const SourceObject& directory,
                                                           const ObjectId& parent,
                                                           const SourceEntry& entry) const {
  if (by_names_ == nullptr) return Open(entry.object);
  UniqueFd fd(openat(directory.path_fd(), entry.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (fd.valid()) {
    const auto found = Identify(fd.get(), "");
    if (found && found->id == entry.object.id && found->mount_id == mount_id_) {
      struct stat attributes;
      const bool is_directory =
          fstatat(fd.get(), "", &attributes, AT_EMPTY_PATH) == 0 && S_ISDIR(attributes.st_mode);
      Whereabouts& whereabouts = by_names_->whereabouts();
      if (is_directory) {
        whereabouts.Note(entry.object.id, parent, entry.name);
      } else {
        whereabouts.NoteIfRoom(entry.object.id, parent, entry.name);
      }
      return SourceObject(std::move(fd));
    }
  } else if (errno == EACCES || errno == EMFILE || errno == ENFILE) {
    return ErrnoError("open " + entry.name);
  }
  return Open(entry.object);  // it was renamed meanwhile
}

Result<std::optional<SourceTree::Named>> SourceTree::OpenName(const SourceObject& directory,
                                                              const ObjectId& parent,
                                                              const std::string& name) const {
  UniqueFd fd(openat(directory.path_fd(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid() && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!fd.valid()) return ErrnoError("open " + name);
  ASSIGN_OR_RETURN(IdentifiedObject found, Identify(fd.get(), ""));
  if (found.mount_id != mount_id_) return std::nullopt;
  NoteNameIfForgotten(found.id, parent, name);
  return Named{{found.id, std::move(found.handle)}, SourceObject(std::move(fd))};
}

Result<std::optional<ObjectRef>> SourceTree::Lookup(int directory_fd, const char* name) const {
  auto found = Identify(directory_fd, name);
  if (!found) {
    if (found.error().code() == ENOENT || found.error().code() == ENOTDIR) return std::nullopt;
    return tl::unexpected<Error>(std::move(found.error()));
  }
  if (found->mount_id != mount_id_) return std::nullopt;
  return ObjectRef{found->id, std::move(found->handle)};
}

Result<std::optional<ObjectRef>> SourceTree::LookupIn(const ObjectRef& directory,
                                                      const std::string& name) const {
  ASSIGN_OR_RETURN(const std::optional<UniqueFd> fd, OpenPath(directory));
  if (!fd) return std::nullopt;
  return Lookup(fd->get(), name.c_str());
}

Result<SourceListing> SourceTree::List(const SourceObject& directory,
                                       std::span<const std::string> names) const {
  SourceListing listing;
  listing.entries.reserve(names.size());
  for (const std::string& name : names) {
    auto object = Lookup(directory.path_fd(), name.c_str());
    if (!object && IsUnreadable(object.error())) {
      listing.unreadable.push_back({name, std::move(object.error())});
      continue;
    }
    RETURN_IF_ERROR(object);
    if (*object) listing.entries.push_back({name, std::move(**object)});
  }
  return listing;
}

}  // namespace tandem::meta
