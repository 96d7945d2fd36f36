// Extended attributes, POSIX ACLs among them.
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "fs/caller/privileges.h"
#include "fs/file_system.h"

namespace tandem::fs {
namespace {

using meta::Intent;
using meta::Operation;

// Shown only if they are asked for by name, and not listed: a copy of the file must not have them.
constexpr std::string_view kShownXattrs = "tandem.";

bool IsAcl(std::string_view name) { return name.starts_with("system.posix_acl_"); }

// An ACL set by a caller outside the object's group clears the setgid bit.
Result<bool> AclClearsSetgid(Request& request, int fd, std::string_view name) {
  if (name != "system.posix_acl_access") return false;
  return ClearsSetgid(request, fd);
}

// Setting an ACL changes the mode, and the mode changes the ACL.
meta::AttributeMask ChangedBy(std::string_view name) {
  return IsAcl(name) ? meta::kAllAttributes : meta::kXattrAttributes;
}

// Replies with what `call` (getxattr or listxattr) returns; with its size if `size` is 0.
template <typename Call>
Status ReplyValue(Request& request, size_t size, Call call) {
  if (size == 0) {
    const ssize_t needed = call(nullptr, 0);
    if (needed < 0) return ErrnoError("read extended attribute");
    request.ReplyXattrSize(static_cast<size_t>(needed));
    return {};
  }
  size = std::min<size_t>(size, XATTR_SIZE_MAX);
  const auto value = std::make_unique_for_overwrite<char[]>(size);
  const ssize_t length = call(value.get(), size);
  if (length < 0) return ErrnoError("read extended attribute");
  (void)request.ReplyBytes({value.get(), static_cast<size_t>(length)});
  return {};
}

// The same with a value that stands nowhere.
Status ReplyText(Request& request, size_t size, const std::string& text) {
  if (size == 0) {
    request.ReplyXattrSize(text.size());
    return {};
  }
  if (size < text.size()) return ErrnoError(ERANGE, "read extended attribute");
  (void)request.ReplyBytes({text.data(), text.size()});
  return {};
}

}  // namespace

Status FileSystem::SetXattr(Request& request, fuse_ino_t node, const char* name, const char* value,
                            size_t size, int flags) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(inode));
  ASSIGN_OR_RETURN(Operation operation, Begin(inode, Intent().Attributes(inode.ref())));
  {
    const NosecFlag::ScopedClear clear(inode.nosec());
    const CallerLimits limits(request.caller());
    ASSIGN_OR_RETURN(const bool clears_setgid, AclClearsSetgid(request, fd.get(), name));
    ASSIGN_OR_RETURN(const auto without, WithoutFsetid::DropIf(clears_setgid, request, fd.get()));
    if (setxattr(fd.path().c_str(), name, value, size, flags) != 0) {
      return ErrnoError("set extended attribute");
    }
  }
  operation.ChangedAttributes(inode.ref(), ChangedBy(name));
  operation.End();
  request.Succeed();
  return {};
}

Status FileSystem::RemoveXattr(Request& request, fuse_ino_t node, const char* name) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(inode));
  ASSIGN_OR_RETURN(Operation operation, Begin(inode, Intent().Attributes(inode.ref())));
  if (removexattr(fd.path().c_str(), name) != 0) return ErrnoError("remove extended attribute");
  operation.ChangedAttributes(inode.ref(), ChangedBy(name));
  operation.End();
  request.Succeed();
  return {};
}

Status FileSystem::GetXattr(Request& request, fuse_ino_t node, const char* name, size_t size) {
  // The kernel asks before the first write to each file.
  if (inodes_->Get(node).nosec().IsSet() && std::strcmp(name, kCapabilityXattr) == 0) {
    return ErrnoError(ENODATA, "read extended attribute");
  }
  std::optional<std::string> shown;
  if (settings_.describe != nullptr && std::string_view(name).starts_with(kShownXattrs)) {
    shown = settings_.describe(name, inodes_->Get(node).ref().id);
  }
  if (shown) return ReplyText(request, size, *shown);
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(node));
  return ReplyValue(request, size, [&](char* value, size_t length) {
    const ssize_t result = getxattr(fd.path().c_str(), name, value, length);
    // An object on a filesystem without ACLs, mounted below a SOURCE that has them. The kernel must
    // be told that the object has none: any other error would fail its permission check.
    if (result < 0 && errno == EOPNOTSUPP && backing_.has_acls && IsAcl(name)) errno = ENODATA;
    return result;
  });
}

Status FileSystem::ListXattrs(Request& request, fuse_ino_t node, size_t size) {
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(node));
  return ReplyValue(request, size, [&](char* names, size_t length) {
    return listxattr(fd.path().c_str(), names, length);
  });
}

}  // namespace tandem::fs
