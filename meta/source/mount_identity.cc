#include "meta/source/mount_identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U
#endif

namespace tandem::meta {
namespace {

// statmount(2) and listmount(2), Linux 6.8, from linux/mount.h.
constexpr long kStatMount = 457;
constexpr long kListMount = 458;
constexpr uint64_t kMountBasic = 0x00000002;
constexpr uint64_t kEveryMount = ~uint64_t{0};
struct MountRequest {
  uint32_t size = sizeof(MountRequest);
  uint32_t spare = 0;
  uint64_t mount = 0;
  uint64_t parameter = 0;
};
// The beginning of the kernel's struct statmount. There, strings follow it.
struct MountDescription {
  uint32_t size;
  uint32_t options;
  uint64_t mask;
  uint32_t device[2];
  uint64_t magic;
  uint32_t filesystem_flags;
  uint32_t type;
  uint64_t id;
  uint64_t parent_id;
  uint32_t old_id;
  uint32_t old_parent_id;
  std::array<char, 448> rest;
};

std::string Written(uint64_t id, bool unique) { return std::to_string(id) + (unique ? "" : "?"); }

bool HasOldId(uint64_t unique, uint32_t wanted) {
  MountRequest request;
  request.mount = unique;
  request.parameter = kMountBasic;
  MountDescription found = {};
  return syscall(kStatMount, &request, &found, sizeof found, 0) == 0 && found.old_id == wanted;
}

}  // namespace

Result<std::string> MountIdentityOf(int fd) {
  struct statx attributes;
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID_UNIQUE, &attributes) != 0) {
    return ErrnoError("get the mount id");
  }
  return Written(attributes.stx_mnt_id, (attributes.stx_mask & STATX_MNT_ID_UNIQUE) != 0);
}

Result<std::string> MountIdentityOfId(int mount_id) {
  const auto wanted = static_cast<uint32_t>(mount_id);
  MountRequest request;
  request.mount = kEveryMount;
  std::array<uint64_t, 256> ids;
  while (true) {
    const long count = syscall(kListMount, &request, ids.data(), ids.size(), 0);
    if (count < 0 && errno == ENOSYS) return Written(wanted, false);
    if (count < 0) return ErrnoError("list mounts");
    if (count == 0) {
      return ErrnoError(ENOENT, "find mount " + std::to_string(mount_id));
    }
    for (long i = 0; i < count; ++i) {
      if (HasOldId(ids[static_cast<size_t>(i)], wanted)) {
        return Written(ids[static_cast<size_t>(i)], true);
      }
    }
    request.parameter = ids[static_cast<size_t>(count - 1)];
  }
}

}  // namespace tandem::meta
