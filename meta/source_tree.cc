#include "meta/source_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "meta/base/read_at.h"
#include "meta/slow_disk.h"

namespace tandem::meta {
namespace {

struct DirCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

bool IsDotOrDotDot(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

Result<std::vector<std::string>> ReadNames(int path_fd) {
  UniqueFd fd(openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME));
  if (!fd.valid() && errno == EPERM) {  // O_NOATIME is for owners only
    fd.Reset(openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  if (!fd.valid()) return ErrnoError("open directory");
  const std::unique_ptr<DIR, DirCloser> directory(fdopendir(fd.get()));
  if (directory == nullptr) return ErrnoError("open directory");
  (void)fd.Release();  // closedir closes it
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) break;
    if (!IsDotOrDotDot(entry->d_name)) names.emplace_back(entry->d_name);
  }
  if (errno != 0) return ErrnoError("read directory");
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

bool IsForbidden(const Error& error) {
  return error.kind() == ErrorKind::kSystem && (error.code() == EACCES || error.code() == EPERM);
}

bool IsUnreadable(const Error& error) {
  constexpr std::array kCodes = {EIO, EUCLEAN, EBADMSG, ENODATA, EILSEQ};
  const bool damaged =
      error.kind() == ErrorKind::kSystem && std::ranges::count(kCodes, error.code()) != 0;
  return damaged || IsForbidden(error);
}

Result<Attributes> SourceObject::ReadAttributes(WithXattrs with_xattrs) const {
  return meta::ReadAttributes(path_fd_.get(), with_xattrs);
}

Result<int> SourceObject::ContentFd() {
  if (content_fd_.valid()) return content_fd_.get();
  const std::string path = ProcPath(path_fd_.get());
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

// To find holes waits for the file's lock, which whoever writes to it holds while the disk makes
// him wait: on a slow disk for most of the time. For a while after that was seen, files that have
// as many blocks as bytes are not searched: zeros that were only allocated are read, too.
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

// The part of `range` below the file's end, if it is likely to have no holes.
std::optional<ByteRange> WithoutHoles(int fd, ByteRange range) {
  constexpr uint64_t kBlock = 512;  // of st_blocks
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
      if (errno == ENXIO) break;  // nothing but a hole, or beyond the end
      return ErrnoError("seek data");
    }
    if (static_cast<uint64_t>(data) >= range.end) break;
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0) {
      if (errno == ENXIO) break;  // shrunk under us
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
  return SourceTree(root_fd, ObjectRef{kRootObject, std::move(root.handle)}, root.mount_id);
}

Result<std::optional<UniqueFd>> SourceTree::OpenPath(const ObjectRef& object) const {
  if (object.id == kRootObject) {
    UniqueFd fd(openat(root_fd_, ".", O_PATH | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError("open root of source");
    return fd;
  }
  auto fd = OpenByHandle(root_fd_, object.handle, O_PATH | O_NOFOLLOW);
  if (fd) return std::move(*fd);
  if (fd.error().code() == ESTALE || fd.error().code() == ENOENT) return std::nullopt;
  if (fd.error().code() == EPERM || fd.error().code() == EOPNOTSUPP) return Search(object);
  return tl::unexpected<Error>(std::move(fd.error()));
}

Status SourceTree::Sync() const {
  if (syncfs(root_fd_) != 0) return ErrnoError("sync the filesystem of source");
  return {};
}

std::optional<uint64_t> SourceTree::SizeOf(const ObjectRef& object) const {
  const auto fd = OpenPath(object);
  struct stat stat_buffer;
  if (!fd || !*fd || fstatat((*fd)->get(), "", &stat_buffer, AT_EMPTY_PATH) != 0) {
    return std::nullopt;
  }
  return static_cast<uint64_t>(stat_buffer.st_size);
}

std::string SourceTree::PathOf(const ObjectRef& object) const {
  const auto fd = OpenPath(object);
  if (!fd || !*fd) return "an object that is gone";
  const auto path_of = [](int descriptor) {
    std::array<char, PATH_MAX> path;
    const ssize_t length = readlink(ProcPath(descriptor).c_str(), path.data(), path.size());
    return std::string(path.data(), length < 0 ? 0 : static_cast<size_t>(length));
  };
  std::string path = path_of((*fd)->get());
  // A file that was opened by handle alone may hang in the air.
  if (path.starts_with(path_of(root_fd_) + "/")) return path;
  struct stat stat_buffer = {};
  (void)fstatat((*fd)->get(), "", &stat_buffer, AT_EMPTY_PATH);
  return "the file with inode number " + std::to_string(stat_buffer.st_ino);
}

Result<std::optional<SourceObject>> SourceTree::Open(const ObjectRef& object) const {
  ASSIGN_OR_RETURN(std::optional<UniqueFd> fd, OpenPath(object));
  if (!fd) return std::nullopt;
  return SourceObject(std::move(*fd));
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

Result<SourceListing> SourceTree::List(const SourceObject& directory) const {
  ASSIGN_OR_RETURN(std::vector<std::string> names, ReadNames(directory.path_fd()));
  SourceListing listing;
  listing.entries.reserve(names.size());
  for (std::string& name : names) {
    auto object = Lookup(directory.path_fd(), name.c_str());
    if (!object && IsUnreadable(object.error())) {
      listing.unreadable.push_back({std::move(name), std::move(object.error())});
      continue;
    }
    RETURN_IF_ERROR(object);
    if (*object) listing.entries.push_back({std::move(name), std::move(**object)});
  }
  return listing;
}

Result<std::optional<UniqueFd>> SourceTree::Search(const ObjectRef& object) const {
  UniqueFd root(openat(root_fd_, ".", O_PATH | O_CLOEXEC));
  if (!root.valid()) return ErrnoError("open root of source");
  std::vector<UniqueFd> directories;
  directories.push_back(std::move(root));
  std::optional<Error> closed;
  const auto note = [&closed](const UniqueFd& directory, const Error& error) {
    struct stat stat_buffer;
    const bool known = fstatat(directory.get(), "", &stat_buffer, AT_EMPTY_PATH) == 0;
    if (IsForbidden(error) && known && stat_buffer.st_uid == geteuid()) closed = error;
  };
  while (!directories.empty()) {
    const UniqueFd directory = std::move(directories.back());
    directories.pop_back();
    const auto names = ReadNames(directory.get());
    if (!names) note(directory, names.error());
    if (!names) continue;  // gone, or not ours to read
    for (const std::string& name : *names) {
      auto looked_up = Lookup(directory.get(), name.c_str());
      if (!looked_up && IsUnreadable(looked_up.error())) {
        note(directory, looked_up.error());
        continue;
      }
      ASSIGN_OR_RETURN(const std::optional<ObjectRef> found, std::move(looked_up));
      if (!found) continue;
      UniqueFd fd(openat(directory.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!fd.valid()) continue;
      if (found->id == object.id) return fd;
      struct stat stat_buffer;
      if (fstatat(fd.get(), "", &stat_buffer, AT_EMPTY_PATH) == 0 && S_ISDIR(stat_buffer.st_mode)) {
        directories.push_back(std::move(fd));
      }
    }
  }
  if (closed) return tl::unexpected<Error>(std::move(*closed).Within("search for an object"));
  return std::nullopt;
}

}  // namespace tandem::meta
