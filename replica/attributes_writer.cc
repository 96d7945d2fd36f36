#include "replica/attributes_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace tandem::replica {
namespace {

bool IsDenied(int code) { return code == EPERM || code == EACCES || code == EINVAL; }

Status WriteOwner(int fd, const meta::Attributes& now, const meta::Attributes& wanted,
                  Notices& notices) {
  if (now.uid == wanted.uid && now.gid == wanted.gid) return {};
  constexpr int kFlags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  if (fchownat(fd, "", wanted.uid, wanted.gid, kFlags) == 0) return {};
  if (!IsDenied(errno)) return ErrnoError("set owner");
  notices.owner = true;
  // A group of ours can still be given.
  (void)fchownat(fd, "", static_cast<uid_t>(-1), wanted.gid, kFlags);
  return {};
}

Status WriteMode(int fd, const meta::Attributes& wanted, Notices& notices) {
  if (wanted.kind == meta::Kind::kSymlink) return {};
  if (chmod(meta::ProcPath(fd).c_str(), wanted.permissions) == 0) return {};
  if (!IsDenied(errno)) return ErrnoError("set mode");
  notices.mode = true;
  return {};
}

// A value too large for this filesystem fails exactly as a full disk does.
bool HasSpace(int fd) {
  struct statvfs buffer;
  return fstatvfs(fd, &buffer) == 0 && buffer.f_bavail > 256;
}

bool CannotBeHere(int fd, int code) {
  return IsDenied(code) || code == EOPNOTSUPP || code == E2BIG || code == ERANGE ||
         (code == ENOSPC && HasSpace(fd));
}

Status WriteXattrs(int fd, const meta::Xattrs& now, const meta::Xattrs& wanted, Notices& notices) {
  const std::string path = meta::ProcPath(fd);
  for (const auto& [name, value] : now) {
    if (wanted.contains(name)) continue;
    if (removexattr(path.c_str(), name.c_str()) == 0 || errno == ENODATA) continue;
    if (!IsDenied(errno)) return ErrnoError("remove extended attribute " + name);
    notices.xattrs = true;
  }
  for (const auto& [name, value] : wanted) {
    const auto standing = now.find(name);
    if (standing != now.end() && standing->second == value) continue;
    if (setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) == 0) continue;
    if (!CannotBeHere(fd, errno)) return ErrnoError("set extended attribute " + name);
    notices.xattrs = true;
  }
  return {};
}

Status WriteTimes(int fd, const meta::Attributes& wanted) {
  const timespec times[2] = {wanted.access_time.ToTimespec(), wanted.modify_time.ToTimespec()};
  if (utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0) return {};
  // Before Linux 5.8 there is no AT_EMPTY_PATH here.
  if (errno == EINVAL && utimensat(AT_FDCWD, meta::ProcPath(fd).c_str(), times, 0) == 0) return {};
  return ErrnoError("set times");
}

}  // namespace

std::string Notices::ToString() const {
  std::string text;
  const auto add = [&text](bool applies, const char* what) {
    if (!applies) return;
    if (!text.empty()) text += "; ";
    text += what;
  };
  add(owner, "owners cannot be set");
  add(mode, "modes cannot be set");
  add(xattrs, "some extended attributes cannot be set");
  add(device, "devices cannot be made, files stand for them");
  add(lost, "files were missing from the tree: run tandem verify --full --repair");
  if (owner || mode || device) text += " (run tandemd as root)";
  if (owner || mode || xattrs || device) text += "; what is true stands in replica.db";
  return text;
}

Status WriteAttributes(int fd, const meta::Attributes& attributes, Notices& notices) {
  ASSIGN_OR_RETURN(const meta::Attributes now, meta::ReadAttributes(fd, meta::WithXattrs::kYes));
  RETURN_IF_ERROR(WriteOwner(fd, now, attributes, notices));
  const bool gave_away = now.uid != attributes.uid || now.gid != attributes.gid;
  if (now.xattrs != attributes.xattrs || (gave_away && !attributes.xattrs.empty())) {
    // A changed owner has cost the capabilities, so what stands now is read again; and who is not
    // root needs the right to write for user.*.
    meta::Attributes writable = attributes;
    if (geteuid() != 0) writable.permissions |= 0600;
    RETURN_IF_ERROR(WriteMode(fd, writable, notices));
    ASSIGN_OR_RETURN(const meta::Attributes between,
                     meta::ReadAttributes(fd, meta::WithXattrs::kYes));
    RETURN_IF_ERROR(WriteXattrs(fd, between.xattrs, attributes.xattrs, notices));
    if (geteuid() != 0) RETURN_IF_ERROR(WriteMode(fd, attributes, notices));
  } else if (now.permissions != attributes.permissions || gave_away) {
    RETURN_IF_ERROR(WriteMode(fd, attributes, notices));
  }
  if (now.access_time == attributes.access_time && now.modify_time == attributes.modify_time) {
    return {};
  }
  return WriteTimes(fd, attributes);
}

}  // namespace tandem::replica
