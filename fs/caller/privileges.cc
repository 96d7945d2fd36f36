#include "fs/caller/privileges.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "meta/base/fd_path.h"

namespace tandem::fs {

Result<bool> SetEffectiveCapability(unsigned capability, bool on) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, sets) != 0) return ErrnoError("read capabilities");
  __user_cap_data_struct& set = sets[CAP_TO_INDEX(capability)];
  const uint32_t mask = CAP_TO_MASK(capability);
  const bool was_on = (set.effective & mask) != 0;
  const uint32_t wanted = on ? set.effective | (set.permitted & mask) : set.effective & ~mask;
  if (wanted == set.effective) return was_on;
  set.effective = wanted;
  if (syscall(SYS_capset, &header, sets) != 0) return ErrnoError("set capabilities");
  return was_on;
}

Result<bool> HasPrivileges(int fd) {
  struct stat found;
  if (fstatat(fd, "", &found, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  if ((found.st_mode & (S_ISUID | S_ISGID)) != 0) return true;
  return getxattr(FdPath(fd).c_str(), kCapabilityXattr, nullptr, 0) >= 0;
}

Result<bool> ClearsSetgid(Request& request, int fd) {
  struct stat file;
  if (fstatat(fd, "", &file, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  return (file.st_mode & S_ISGID) != 0 && !request.caller_status().MayKeepSetgidOf(file);
}

Result<WithoutFsetid> WithoutFsetid::DropIf(bool needed, Request& request, int fd) {
  WithoutFsetid without;
  if (!needed) return without;
  struct stat file;
  if (fstatat(fd, "", &file, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  ASSIGN_OR_RETURN(without.dropped_, SetEffectiveCapability(CAP_FSETID, false));
  // Without CAP_SETGID this fails; then all callers are this process's own user.
  const bool keeps_setgid = request.caller_status().MayKeepSetgidOf(file);
  setfsgid(keeps_setgid ? file.st_gid : request.caller().gid);
  without.changed_group_ = true;
  return without;
}

WithoutFsetid::WithoutFsetid(WithoutFsetid&& other) noexcept
    : dropped_(std::exchange(other.dropped_, false)),
      changed_group_(std::exchange(other.changed_group_, false)) {}

WithoutFsetid::~WithoutFsetid() {
  if (changed_group_) setfsgid(getegid());
  if (dropped_) (void)SetEffectiveCapability(CAP_FSETID, true);
}

}  // namespace tandem::fs
