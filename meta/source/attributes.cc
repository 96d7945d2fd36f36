#include "meta/source/attributes.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <vector>

#include "meta/base/fd_path.h"
#include "meta/base/unique_fd.h"

// Since Linux 6.13; the number is the same on all machines.
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif

namespace tandem::meta {
namespace {

Result<std::string> ReadLinkTarget(int directory_fd, const char* name) {
  std::string target(256, '\0');
  while (true) {
    const ssize_t length = readlinkat(directory_fd, name, target.data(), target.size());
    if (length < 0) return ErrnoError("read symlink");
    if (static_cast<size_t>(length) < target.size()) {
      target.resize(static_cast<size_t>(length));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

bool MeansNoXattrs(int code) { return code == EOPNOTSUPP || code == ENODATA || code == EPERM; }

Result<Xattrs> ReadXattrs(int fd) {
  const FdPath path(fd);
  // Most objects have none, so ask for the size before touching 64 KiB of memory.
  ssize_t listed = listxattr(path.c_str(), nullptr, 0);
  if (listed == 0) return Xattrs();
  std::string names(XATTR_LIST_MAX, '\0');
  if (listed > 0) listed = listxattr(path.c_str(), names.data(), names.size());
  if (listed < 0) {
    if (MeansNoXattrs(errno)) return Xattrs();
    if (errno == E2BIG) {
      return ErrnoError("list extended attributes (their names take more than 64 KiB)");
    }
    return ErrnoError("list extended attributes");
  }
  names.resize(static_cast<size_t>(listed));
  Xattrs xattrs;
  size_t bytes = names.size();
  std::string value(XATTR_SIZE_MAX, '\0');
  for (size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    if (!IsReplicatedXattr(name)) continue;
    const ssize_t length = getxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (length >= 0) {
      bytes += static_cast<size_t>(length);
      if (bytes > kMaxXattrBytes) {
        return ErrnoError(E2BIG, "read extended attributes (more than " +
                                     std::to_string(kMaxXattrBytes >> 20) + " MiB)");
      }
      xattrs.emplace(name, value.substr(0, static_cast<size_t>(length)));
    } else if (!MeansNoXattrs(errno)) {
      return ErrnoError("read extended attribute " + name);
    }
  }
  return xattrs;
}

Result<Xattrs> ReadXattrsAt(int directory_fd, const char* name) {
  // Most objects have none, and need not be opened to know that. An error may be of the call itself
  // (EPERM of a filter that does not know it).
  const long listed =
      syscall(SYS_listxattrat, directory_fd, name, AT_SYMLINK_NOFOLLOW, nullptr, size_t{0});
  if (listed == 0 || (listed < 0 && (errno == EOPNOTSUPP || errno == ENODATA))) return Xattrs();
  const UniqueFd fd(openat(directory_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(std::string("open ") + name);
  return ReadXattrs(fd.get());
}

}  // namespace

Kind KindOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return Kind::kDirectory;
    case S_IFLNK:
      return Kind::kSymlink;
    case S_IFIFO:
      return Kind::kFifo;
    case S_IFSOCK:
      return Kind::kSocket;
    case S_IFCHR:
      return Kind::kCharDevice;
    case S_IFBLK:
      return Kind::kBlockDevice;
    default:
      return Kind::kFile;
  }
}

mode_t FormatOf(Kind kind) {
  switch (kind) {
    case Kind::kFile:
      return S_IFREG;
    case Kind::kDirectory:
      return S_IFDIR;
    case Kind::kSymlink:
      return S_IFLNK;
    case Kind::kFifo:
      return S_IFIFO;
    case Kind::kSocket:
      return S_IFSOCK;
    case Kind::kCharDevice:
      return S_IFCHR;
    case Kind::kBlockDevice:
      return S_IFBLK;
  }
  return S_IFREG;
}

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kFile:
      return "file";
    case Kind::kDirectory:
      return "directory";
    case Kind::kSymlink:
      return "symlink";
    case Kind::kFifo:
      return "fifo";
    case Kind::kSocket:
      return "socket";
    case Kind::kCharDevice:
      return "character device";
    case Kind::kBlockDevice:
      return "block device";
  }
  return "object";
}

Attributes AttributesFromStat(const struct stat& stat_buffer) {
  Attributes attributes;
  attributes.kind = KindOf(stat_buffer.st_mode);
  attributes.permissions = stat_buffer.st_mode & 07777;
  attributes.uid = stat_buffer.st_uid;
  attributes.gid = stat_buffer.st_gid;
  if (attributes.kind == Kind::kFile) attributes.size = static_cast<uint64_t>(stat_buffer.st_size);
  if (attributes.kind == Kind::kCharDevice || attributes.kind == Kind::kBlockDevice) {
    attributes.device = stat_buffer.st_rdev;
  }
  attributes.link_count = static_cast<uint32_t>(stat_buffer.st_nlink);
  attributes.access_time = Timestamp::From(stat_buffer.st_atim);
  attributes.modify_time = Timestamp::From(stat_buffer.st_mtim);
  attributes.change_time = Timestamp::From(stat_buffer.st_ctim);
  return attributes;
}

Result<Attributes> ReadAttributes(int fd, WithXattrs with_xattrs) {
  struct stat stat_buffer;
  if (fstatat(fd, "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  Attributes attributes = AttributesFromStat(stat_buffer);
  if (attributes.kind == Kind::kSymlink) {
    ASSIGN_OR_RETURN(attributes.link_target, ReadLinkTarget(fd, ""));
  }
  if (with_xattrs == WithXattrs::kYes) {
    ASSIGN_OR_RETURN(attributes.xattrs, ReadXattrs(fd));
  }
  return attributes;
}

Result<Attributes> ReadAttributesAt(int directory_fd, const char* name) {
  struct stat stat_buffer;
  if (fstatat(directory_fd, name, &stat_buffer, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    return ErrnoError(std::string("stat ") + name);
  }
  Attributes attributes = AttributesFromStat(stat_buffer);
  if (attributes.kind == Kind::kSymlink) {
    auto target = ReadLinkTarget(directory_fd, name);
    const bool is_replaced = !target && target.error().code() == EINVAL;
    if (is_replaced) return ErrnoError(ESTALE, std::string("read symlink ") + name);
    ASSIGN_OR_RETURN(attributes.link_target, std::move(target));
  }
  ASSIGN_OR_RETURN(attributes.xattrs, ReadXattrsAt(directory_fd, name));
  return attributes;
}

bool IsReplicatedXattr(const std::string& name) {
  return name.starts_with("user.") || name.starts_with("trusted.") ||
         name.starts_with("security.") || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

}  // namespace tandem::meta
