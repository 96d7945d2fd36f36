// stat, chmod, chown, truncate, utimens; readlink and statfs.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "fs/caller/privileges.h"
#include "fs/file_system.h"
#include "fs/ops/tuning.h"
#include "fs/tuning.h"

namespace tandem::fs {
namespace {

using meta::Intent;

#ifndef FUSE_SET_ATTR_KILL_SUID
#define FUSE_SET_ATTR_KILL_SUID 0
#endif

constexpr int kSetsOwner = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
constexpr int kSetsTimes = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;

Result<struct stat> StatOf(int fd) {
  struct stat attributes;
  if (fstatat(fd, "", &attributes, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  return attributes;
}

Status SetOwner(int fd, const struct stat& wanted, int to_set) {
  const uid_t uid = (to_set & FUSE_SET_ATTR_UID) != 0 ? wanted.st_uid : static_cast<uid_t>(-1);
  const gid_t gid = (to_set & FUSE_SET_ATTR_GID) != 0 ? wanted.st_gid : static_cast<gid_t>(-1);
  if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0) return ErrnoError("chown");
  return {};
}

// A chown that names neither owner nor group clears setuid and setgid bits. Returns whether it
// would clear bits that the caller may not clear.
Result<bool> ClearsSetidOfOthers(Request& request, int fd) {
  ASSIGN_OR_RETURN(const struct stat now, StatOf(fd));
  if (S_ISDIR(now.st_mode) || (now.st_mode & (S_ISUID | S_ISGID)) == 0) return false;
  const CallerStatus& caller = request.caller_status();
  if (caller.MayActAsOwnerOf(now)) return false;
  const bool clears_setgid = (now.st_mode & S_ISGID) != 0 &&
                             ((now.st_mode & S_IXGRP) != 0 || !caller.MayKeepSetgidOf(now));
  return clears_setgid || (now.st_mode & S_ISUID) != 0;
}

Status SetMode(int fd, mode_t mode) {
  constexpr mode_t kPermissions = 07777;
  if (chmod(FdPath(fd).c_str(), mode & kPermissions) != 0) return ErrnoError("chmod");
  return {};
}

timespec TimeToSet(const timespec& wanted, bool set, bool to_now) {
  if (!set) return {0, UTIME_OMIT};
  if (to_now) return {0, UTIME_NOW};
  return wanted;
}

Status SetTimes(int fd, const struct stat& wanted, int to_set) {
  const timespec times[2] = {TimeToSet(wanted.st_atim, (to_set & FUSE_SET_ATTR_ATIME) != 0,
                                       (to_set & FUSE_SET_ATTR_ATIME_NOW) != 0),
                             TimeToSet(wanted.st_mtim, (to_set & FUSE_SET_ATTR_MTIME) != 0,
                                       (to_set & FUSE_SET_ATTR_MTIME_NOW) != 0)};
  if (utimensat(fd, "", times, AT_EMPTY_PATH) != 0) return ErrnoError("set times");
  return {};
}

// With -o writeback the kernel keeps the times of written files and sends them later. Such a
// request sets mtime and ctime to the same time.
bool IsWritebackTime(const struct stat& wanted, int to_set) {
  constexpr int kBoth = FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME;
  return (to_set & kBoth) == kBoth && wanted.st_mtim.tv_sec == wanted.st_ctim.tv_sec &&
         wanted.st_mtim.tv_nsec == wanted.st_ctim.tv_nsec;
}

// Sets times that may be the kernel's own. The times of an append-only file can be set only to now.
// A file that has become immutable since it was written keeps the times that the write set beneath.
Status SetWritebackTimes(int fd, const struct stat& wanted, int to_set) {
  Status set = SetTimes(fd, wanted, to_set);
  if (set || set.error().code() != EPERM || !IsWritebackTime(wanted, to_set)) return set;
  set = SetTimes(fd, wanted, to_set | FUSE_SET_ATTR_MTIME_NOW);
  const bool only_written = (to_set & FUSE_SET_ATTR_ATIME) == 0;
  if (!set && set.error().code() == EPERM && only_written) return {};
  return set;
}

// Returns the bytes that change when a file of `size` bytes is resized to `new_size`.
ByteRange ChangedByResize(off_t size, off_t new_size) {
  return ByteRange::From(static_cast<uint64_t>(std::min(size, new_size)));
}

}  // namespace

Status FileSystem::GetAttributes(Request& request, fuse_ino_t node, fuse_file_info* info) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(inode));
  ASSIGN_OR_RETURN(struct stat attributes,
                   StatOf(info != nullptr ? files_.Get(info->fh).fd() : fd.get()));
  attributes.st_ino = inode.PublicNumber(attributes.st_ino);
  request.ReplyAttributes(attributes, kCacheSeconds);
  return {};
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
Status FileSystem::Statx(Request& request, fuse_ino_t node, int flags, int mask,
                         fuse_file_info* /*info*/) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(inode));
  struct statx attributes;
  if (statx(fd.get(), "", AT_EMPTY_PATH | (flags & AT_STATX_SYNC_TYPE),
            static_cast<unsigned>(mask) | STATX_BASIC_STATS, &attributes) != 0) {
    return ErrnoError("statx");
  }
  attributes.stx_ino = inode.PublicNumber(attributes.stx_ino);
  request.ReplyStatx(attributes, kCacheSeconds);
  return {};
}
#endif

// A request that sets nothing is a chown that names neither owner nor group. It sets the ctime and
// clears setuid and setgid bits, which only the owner may do; the kernel leaves that check to us.
// The kernel sends the same request before a write to a file that has such bits: then it is
// answered without doing anything, and the write clears them.
//
// The owner is set before the mode: chown clears setuid bits, and the mode in the same request has
// them as they are to be. Times are set last, because a change of size sets them.
Status FileSystem::SetAttributes(Request& request, fuse_ino_t node, struct stat* wanted, int to_set,
                                 fuse_file_info* info) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(const InodeFd inode_fd, inodes_->Descriptor(inode));
  const int fd = inode_fd.get();
  const bool sets_nothing =
      (to_set & (kSetsOwner | FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE | kSetsTimes)) == 0;
  const bool sets_owner = sets_nothing || (to_set & kSetsOwner) != 0;
  if (sets_nothing) {
    ASSIGN_OR_RETURN(const bool refused, ClearsSetidOfOthers(request, fd));
    if (refused && inode.IsOpenForWriting()) return GetAttributes(request, node, info);
    if (refused) return ErrnoError(EPERM, "chown");
  }
  Intent intent;
  bool has_privileges = false;
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    ASSIGN_OR_RETURN(const struct stat before, StatOf(fd));
    intent.Data(inode.ref(), ChangedByResize(before.st_size, wanted->st_size));
    has_privileges = MayHavePrivileges(inode, fd);
  }
  if (has_privileges || sets_owner || (to_set & (FUSE_SET_ATTR_MODE | kSetsTimes)) != 0) {
    intent.Attributes(inode.ref());
  }
  ASSIGN_OR_RETURN(meta::Operation operation, Begin(inode, intent));
  // Each step is recorded by itself, because a later one may fail. Owner and mode affect ACLs and
  // capabilities, which are extended attributes.
  if (sets_owner) {
    ASSIGN_OR_RETURN(const bool clears_setgid, ClearsSetgid(request, fd));
    ASSIGN_OR_RETURN(const auto without, WithoutFsetid::DropIf(clears_setgid, request, fd));
    RETURN_IF_ERROR(SetOwner(fd, *wanted, to_set));
    operation.ChangedAttributes(inode.ref(), meta::kAllAttributes);
  }
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
    const NosecFlag::ScopedClear clear(inode.nosec());
    RETURN_IF_ERROR(SetMode(fd, wanted->st_mode));
    operation.ChangedAttributes(inode.ref(), meta::kAllAttributes);
  }
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    const int open_fd = info != nullptr ? files_.Get(info->fh).fd() : -1;
    const bool asked = kHasKillprivV2 ? (to_set & FUSE_SET_ATTR_KILL_SUID) != 0
                                      : !request.caller_status().Has(CAP_FSETID);
    const bool clears_setid = has_privileges && asked;
    ASSIGN_OR_RETURN(const auto without, WithoutFsetid::DropIf(clears_setid, request, fd));
    if (has_privileges) operation.ChangedAttributes(inode.ref(), meta::kAllAttributes);
    RETURN_IF_ERROR(Resize(operation, inode, fd, open_fd, wanted->st_size));
  }
  if ((to_set & kSetsTimes) != 0) {
    RETURN_IF_ERROR(settings_.writeback ? SetWritebackTimes(fd, *wanted, to_set)
                                        : SetTimes(fd, *wanted, to_set));
    operation.ChangedAttributes(inode.ref(), meta::kStatAttributes);
  }
  operation.End();
  return GetAttributes(request, node, info);
}

// Truncates through `open_fd` unless it is -1: an application may truncate through a descriptor a
// file that it could no longer open.
Status FileSystem::Resize(meta::Operation& operation, const Inode& inode, int fd, int open_fd,
                          off_t size) {
  ASSIGN_OR_RETURN(const struct stat before, StatOf(fd));
  const int result = open_fd >= 0 ? ftruncate(open_fd, size) : truncate(FdPath(fd).c_str(), size);
  const int code = errno;
  // A truncate that failed (ENOSPC, EIO) may have changed part of the range.
  operation.Wrote(inode.ref(), ChangedByResize(before.st_size, size));
  if (result != 0) return ErrnoError(code, "truncate");
  return {};
}

Status FileSystem::ReadLink(Request& request, fuse_ino_t node) {
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(node));
  char target[PATH_MAX + 1];
  const ssize_t length = readlinkat(fd.get(), "", target, sizeof target - 1);
  if (length < 0) return ErrnoError("read symlink");
  target[length] = '\0';
  request.ReplyLink(target);
  return {};
}

Status FileSystem::Statfs(Request& request, fuse_ino_t node) {
  ASSIGN_OR_RETURN(const InodeFd fd, inodes_->Descriptor(node));
  // On a slow disk, answers with what is free so far.
  (void)inodes_->FinishRemovals(std::chrono::steady_clock::now() + kStatfsTimeout);
  struct statvfs statistics;
  if (fstatvfs(fd.get(), &statistics) != 0) return ErrnoError("statfs");
  request.ReplyStatfs(statistics);
  return {};
}

}  // namespace tandem::fs
