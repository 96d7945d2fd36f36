#include "replica/apply/attributes_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "meta/base/fd_path.h"
#include "meta/base/printable.h"
#include "replica/apply/own_labels.h"
#include "replica/apply/tree.h"

namespace tandem::replica {
namespace {

// Returns the number of objects that lack something, for users.
std::string CountOf(const LackingNames& lacking) {
  if (lacking.objects <= kMaxCountedLacking) return std::to_string(lacking.objects);
  return "more than " + std::to_string(kMaxCountedLacking);
}

bool IsDenied(int code) { return code == EPERM || code == EACCES || code == EINVAL; }

Status WriteOwner(int fd, const meta::Attributes& now, const meta::Attributes& wanted,
                  Notices& notices) {
  if (now.uid == wanted.uid && now.gid == wanted.gid) return {};
  constexpr int kFlags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  if (fchownat(fd, "", wanted.uid, wanted.gid, kFlags) == 0) return {};
  if (!IsDenied(errno)) return ErrnoError("set owner");
  notices.owner = true;
  // A group that we are a member of can still be set.
  (void)fchownat(fd, "", static_cast<uid_t>(-1), wanted.gid, kFlags);
  return {};
}

Status WriteMode(int fd, const meta::Attributes& wanted, Notices& notices) {
  if (wanted.kind == meta::Kind::kSymlink) return {};
  if (chmod(FdPath(fd).c_str(), wanted.permissions) == 0) return {};
  if (!IsDenied(errno)) return ErrnoError("set mode");
  notices.mode = true;
  return {};
}

// Distinguishes a full disk from a value too large for the object: both fail with ENOSPC.
bool HasSpace(int fd) {
  struct statvfs buffer;
  return fstatvfs(fd, &buffer) == 0 && buffer.f_bavail > 256;
}

// Returns true if this attribute alone is at fault. It must not hold up the others.
bool CannotBeHere(int fd, int code) {
  return IsDenied(code) || code == EOPNOTSUPP || code == ENODATA || code == E2BIG ||
         code == ERANGE || (code == ENOSPC && HasSpace(fd));
}

// Returns false if it cannot be removed.
Result<bool> RemoveXattr(int fd, const FdPath& path, const std::string& name) {
  if (removexattr(path.c_str(), name.c_str()) == 0 || errno == ENODATA) return true;
  if (!CannotBeHere(fd, errno)) return ErrnoError("remove extended attribute " + name);
  return false;
}

using XattrOrder = std::vector<const meta::Xattrs::value_type*>;

// Returns the names of those that cannot be set.
Result<XattrNames> SetXattrs(int fd, const FdPath& path, const XattrOrder& order) {
  XattrNames unset;
  for (const auto* xattr : order) {
    const auto& [name, value] = *xattr;
    if (setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) == 0) continue;
    if (!CannotBeHere(fd, errno)) return ErrnoError("set extended attribute " + name);
    unset.push_back(name);
  }
  return unset;
}

// ext4 keeps all extended attributes of an object in its inode and one block, which may be full to
// the last byte. So old values are removed before new ones are set. Whether all fit into both
// places depends on the order in which they are set; if some do not fit, all are set again, largest
// first and then smallest first.
Result<XattrNames> WriteXattrs(int fd, const meta::Xattrs& now, const meta::Xattrs& wanted) {
  const FdPath path(fd);
  XattrNames left;
  for (const auto& [name, value] : now) {
    const auto kept = wanted.find(name);
    if (kept != wanted.end() && kept->second == value) continue;
    ASSIGN_OR_RETURN(const bool removed, RemoveXattr(fd, path, name));
    if (!removed && kept == wanted.end()) left.push_back(name);
  }
  XattrOrder missing;
  for (const auto& xattr : wanted) {
    const auto standing = now.find(xattr.first);
    if (standing == now.end() || standing->second != xattr.second) missing.push_back(&xattr);
  }
  ASSIGN_OR_RETURN(XattrNames unset, SetXattrs(fd, path, missing));

  XattrOrder order;
  for (const auto& xattr : wanted) order.push_back(&xattr);
  std::ranges::stable_sort(order, std::greater<>(),
                           [](const auto* xattr) { return xattr->second.size(); });
  for (int attempt = 0; attempt < 2 && !unset.empty(); ++attempt) {
    for (const auto* xattr : order) RETURN_IF_ERROR(RemoveXattr(fd, path, xattr->first));
    ASSIGN_OR_RETURN(unset, SetXattrs(fd, path, order));
    std::ranges::reverse(order);
  }
  left.insert(left.end(), unset.begin(), unset.end());
  return left;
}

Result<meta::Attributes> ReadWithoutOwnLabels(int fd, const meta::Xattrs& wanted,
                                              XattrsNow xattrs_now = XattrsNow::kUnknown) {
  if (xattrs_now == XattrsNow::kNone) return ReadWithRights(fd, meta::WithXattrs::kNo);
  ASSIGN_OR_RETURN(meta::Attributes now, ReadWithRights(fd, meta::WithXattrs::kYes));
  LeaveOutOwnLabels(now.xattrs, wanted);
  return now;
}

Status WriteTimes(int fd, const meta::Attributes& wanted) {
  const timespec times[2] = {wanted.access_time.ToTimespec(), wanted.modify_time.ToTimespec()};
  if (utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0) return {};
  // Before Linux 5.8 utimensat does not know AT_EMPTY_PATH.
  if (errno == EINVAL && utimensat(AT_FDCWD, FdPath(fd).c_str(), times, 0) == 0) return {};
  return ErrnoError("set times");
}

}  // namespace

std::string Notices::ToString() const {
  std::string text;
  const auto add = [&text](bool applies, const std::string& what) {
    if (!applies) return;
    if (!text.empty()) text += "; ";
    text += what;
  };
  add(owner, "owners cannot be set");
  add(mode, "modes cannot be set");
  add(device, "devices cannot be made, so files stand for them");
  if (owner || mode || device) text += " (run tandemd as root)";
  add(lacking.unset.objects > 0, "extended attributes of " + CountOf(lacking.unset) +
                                     " objects cannot be set (such as " +
                                     Printable(lacking.unset.names) + ")");
  add(lacking.withheld.objects > 0, "attributes of " + CountOf(lacking.withheld) +
                                        " objects are not set in the tree (such as " +
                                        Printable(lacking.withheld.names) +
                                        "), because that takes an account with --allow-special");
  if (!text.empty()) text += "; replica.db has the true values";
  return text;
}

std::string Joined(const XattrNames& names) {
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : " ") + name;
  return joined;
}

mode_t FirstModeOf(const meta::Attributes& attributes) {
  static const uid_t uid = geteuid();
  static const gid_t gid = getegid();
  const bool is_ours = attributes.uid == uid && attributes.gid == gid;
  return is_ours && attributes.xattrs.empty() ? attributes.permissions & 0777 : 0600;
}

Result<XattrNames> WriteAttributes(int fd, const meta::Attributes& attributes, Notices& notices,
                                   XattrsNow xattrs_now) {
  ASSIGN_OR_RETURN(const meta::Attributes now,
                   ReadWithoutOwnLabels(fd, attributes.xattrs, xattrs_now));
  RETURN_IF_ERROR(WriteOwner(fd, now, attributes, notices));
  const bool gave_away = now.uid != attributes.uid || now.gid != attributes.gid;
  XattrNames unset;
  if (now.xattrs != attributes.xattrs || (gave_away && !attributes.xattrs.empty())) {
    // A change of owner removes capabilities, so the attributes are read again. Without root,
    // setting user.* requires write permission.
    meta::Attributes writable = attributes;
    if (geteuid() != 0) writable.permissions |= 0600;
    RETURN_IF_ERROR(WriteMode(fd, writable, notices));
    ASSIGN_OR_RETURN(const meta::Attributes between, ReadWithoutOwnLabels(fd, attributes.xattrs));
    ASSIGN_OR_RETURN(unset, WriteXattrs(fd, between.xattrs, attributes.xattrs));
    if (geteuid() != 0) RETURN_IF_ERROR(WriteMode(fd, attributes, notices));
  } else if (now.permissions != attributes.permissions || gave_away) {
    RETURN_IF_ERROR(WriteMode(fd, attributes, notices));
  }
  if (now.access_time != attributes.access_time || now.modify_time != attributes.modify_time) {
    RETURN_IF_ERROR(WriteTimes(fd, attributes));
  }
  return unset;
}

}  // namespace tandem::replica
