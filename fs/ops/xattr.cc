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

bool IsAcl(std::string_view name) { return name.starts_with("system.posix_acl_"); }

// Whoever sets an ACL without being in the object's group loses its setgid bit.
Result<bool> AclTakesSetgid(Request& request, int fd, std::string_view name) {
  if (name != "system.posix_acl_access") return false;
  return TakesSetgid(request, fd);
}

// An ACL is also the mode, and the other way round.
meta::AttributeMask ChangedBy(std::string_view name) {
  return IsAcl(name) ? meta::kAllAttributes : meta::kXattrAttributes;
}

// A value, or a list of names, as getxattr and listxattr give them: size 0 asks for the size.
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

}  // namespace

Status FileSystem::SetXattr(Request& request, fuse_ino_t node, const char* name, const char* value,
                            size_t size, int flags) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(inode));
  ASSIGN_OR_RETURN(Operation operation, Begin(inode, Intent().Attributes(inode.ref())));
  {
    const NosecFlag::ScopedClear clear(inode.nosec());
    const CallerLimits limits(request.caller());
    ASSIGN_OR_RETURN(const bool takes_setgid, AclTakesSetgid(request, fd.get(), name));
    ASSIGN_OR_RETURN(const auto without,
                     WithoutSetidCapability::DropIf(takes_setgid, request, fd.get()));
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
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(node));
  return ReplyValue(request, size, [&](char* value, size_t length) {
    const ssize_t result = getxattr(fd.path().c_str(), name, value, length);
    // Below a mount without ACLs, in a volume that has them: the kernel must hear that there is
    // none, for it takes any other error as the outcome of its permission check.
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
