// Operations that change modes, owners, times, extended attributes and ACLs.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/programs/lib/posix_acl.h"
#include "tests/programs/lib/workload_file.h"
#include "tests/programs/lib/workload_ops.h"
#include "tests/programs/lib/workload_pick.h"

namespace tandem::workload {
namespace {

constexpr char kAccessAcl[] = "system.posix_acl_access";
constexpr char kDefaultAcl[] = "system.posix_acl_default";

// Owner's permissions that a directory keeps, so that an unprivileged
// workload can go on using it.
mode_t PermissionsKept(const Actor& actor, const Path& path) {
  if (!path.HasParent()) return 0755;
  return actor.config().root ? 0 : 0700;
}

void Chmod(Actor& actor) {
  const Path path = PickObject(actor);
  const mode_t mode =
      actor.random().OneIn(3)
          ? actor.random().Below(010000)
          : actor.random().Choose({0644, 0755, 04755, 02755, 01777, 06711, 0400, 0});
  const mode_t kept = PermissionsKept(actor, path);
  actor.Note(path, "mode", mode | kept);
  actor.Try("chmod", chmod(path.bytes.c_str(), mode | kept));
}

uint32_t RandomId(Actor& actor) {
  return actor.random().OneIn(2) ? actor.random().Below(6) : actor.random().Between(1000, 1003);
}

void Chown(Actor& actor) {
  const Path path = PickObject(actor);
  const uid_t uid = actor.random().OneIn(4) ? uid_t(-1) : RandomId(actor);
  const gid_t gid = actor.random().OneIn(4) ? gid_t(-1) : RandomId(actor);
  actor.Note(path, "uid", uid, "gid", gid);
  actor.Try("lchown", lchown(path.bytes.c_str(), uid, gid));
}

// Within what ext4 can store (1901 to 2446), including both ends.
timespec RandomTime(Actor& actor) {
  constexpr int64_t kFirst = -(int64_t{1} << 31);
  constexpr int64_t kLast = (int64_t{1} << 34) - (int64_t{1} << 31) - 1;
  constexpr long kSecond = 1'000'000'000;
  timespec time = {};
  time.tv_nsec = static_cast<long>(actor.random().Below(kSecond));
  switch (actor.random().Below(8)) {
    case 0:
      time.tv_nsec = UTIME_OMIT;
      break;
    case 1:
      time.tv_nsec = UTIME_NOW;
      break;
    case 2:
      time.tv_sec = actor.random().Choose({kFirst, kLast, int64_t{-1}, int64_t{0}});
      break;
    case 3:
      time.tv_sec = kFirst + static_cast<int64_t>(actor.random().Below(kLast - kFirst));
      break;
    case 4:
      time.tv_nsec = actor.random().Choose({0L, 1L, kSecond - 1});
      [[fallthrough]];
    default:
      time.tv_sec = 1'600'000'000 + actor.random().Below(100'000'000);
  }
  return time;
}

void SetTimes(Actor& actor) {
  const Path path = PickObject(actor);
  const timespec times[2] = {RandomTime(actor), RandomTime(actor)};
  const int flags = actor.random().OneIn(2) ? AT_SYMLINK_NOFOLLOW : 0;
  actor.Note(path, "atime", times[0].tv_sec, times[0].tv_nsec, "mtime", times[1].tv_sec,
             times[1].tv_nsec, "flags", flags);
  actor.Try("utimensat", utimensat(AT_FDCWD, path.bytes.c_str(), times, flags));
}

std::string XattrName(Actor& actor) {
  constexpr size_t kLongest = 255;
  const uint64_t index = actor.random().Below(8);
  std::string name = "user.a" + std::to_string(index);
  if (index == 6) name += "\xff\xfe\n\\";
  if (index == 7) name.resize(kLongest, 'x');
  if (index == 0 && actor.config().root) name = "trusted.a0";
  return name;
}

// ext4 keeps all of an object's attributes in one block: ENOSPC is normal.
void SetXattr(Actor& actor) {
  const Path path = PickObject(actor);
  const std::string name = XattrName(actor);
  const auto value = actor.Data(actor.random().Magnitude(3000));
  const size_t length = actor.random().OneIn(8) ? 0 : value.size();
  const int flags = actor.random().Choose<int>({0, 0, XATTR_CREATE, XATTR_REPLACE});
  actor.Note(path, programs::Escape(name), length, "flags", flags);
  actor.Try("lsetxattr", lsetxattr(path.bytes.c_str(), name.c_str(), value.data(), length, flags),
            {ENOSPC, E2BIG, ERANGE});
}

void RemoveXattr(Actor& actor) {
  const Path path = PickObject(actor);
  const std::string name = XattrName(actor);
  actor.Note(path, programs::Escape(name));
  actor.Try("lremovexattr", lremovexattr(path.bytes.c_str(), name.c_str()));
}

// Which the next write to the file takes away again.
void SetCapability(Actor& actor) {
  const Path path = PickFile(actor);
  vfs_cap_data capability = {};
  capability.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  capability.data[0].permitted = 1 << CAP_NET_RAW;
  actor.Note(path);
  actor.Try("setxattr",
            setxattr(path.bytes.c_str(), "security.capability", &capability, XATTR_CAPS_SZ_2, 0),
            {ENOSPC});
}

uint16_t RandomPermissions(Actor& actor) { return actor.random().Below(8); }

programs::PosixAcl RandomAcl(Actor& actor) {
  programs::PosixAcl acl;
  if (actor.config().root) acl.owner = RandomPermissions(actor);
  acl.owning_group = RandomPermissions(actor);
  acl.other = RandomPermissions(actor);
  acl.mask = RandomPermissions(actor);
  for (uint64_t i = actor.random().Below(4); i > 0; --i) {
    acl.users[RandomId(actor)] = RandomPermissions(actor);
  }
  for (uint64_t i = actor.random().Below(3); i > 0; --i) {
    acl.groups[RandomId(actor)] = RandomPermissions(actor);
  }
  return acl;
}

void SetAcl(Actor& actor, const Path& path, const char* kind) {
  const std::string value = programs::EncodeAcl(RandomAcl(actor));
  actor.Note(path, "bytes", value.size());
  actor.Try("setxattr", setxattr(path.bytes.c_str(), kind, value.data(), value.size(), 0),
            {ENOSPC});
}

void SetAccessAcl(Actor& actor) { SetAcl(actor, PickEntry(actor), kAccessAcl); }

void SetDefaultAcl(Actor& actor) { SetAcl(actor, PickSubdirectory(actor), kDefaultAcl); }

void RemoveAcl(Actor& actor) {
  const bool access = actor.random().OneIn(2);
  const Path path = access ? PickEntry(actor) : PickSubdirectory(actor);
  const char* kind = access ? kAccessAcl : kDefaultAcl;
  actor.Note(path, kind);
  actor.Try("removexattr", removexattr(path.bytes.c_str(), kind));
}

constexpr Op kAttributeOps[] = {
    {"chmod", 25, Chmod},
    {"chown", 20, Chown, /*needs_root=*/true},
    {"utimens", 25, SetTimes},
    {"setxattr", 30, SetXattr},
    {"removexattr", 15, RemoveXattr},
    {"set_capability", 6, SetCapability, /*needs_root=*/true},
    {"set_access_acl", 12, SetAccessAcl},
    {"set_default_acl", 6, SetDefaultAcl},
    {"remove_acl", 6, RemoveAcl},
};

}  // namespace

std::span<const Op> AttributeOps() { return kAttributeOps; }

}  // namespace tandem::workload
