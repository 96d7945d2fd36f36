// What an object is besides its content: kind, mode, owner, times, device, link target, extended
// attributes (POSIX ACLs and capabilities are extended attributes to the kernel, and so here).
// Any thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>
#include <map>
#include <string>

#include "meta/base/result.h"

namespace tandem::meta {

enum class Kind : uint8_t {
  kFile = 1,
  kDirectory = 2,
  kSymlink = 3,
  kFifo = 4,
  kSocket = 5,
  kCharDevice = 6,
  kBlockDevice = 7,
};

Kind KindOf(mode_t mode);
// The S_IFMT bits.
mode_t FormatOf(Kind kind);
const char* NameOf(Kind kind);

struct Timestamp {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;

  timespec ToTimespec() const { return {seconds, static_cast<long>(nanoseconds)}; }
  static Timestamp From(const timespec& time) {
    return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
  }
  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

using Xattrs = std::map<std::string, std::string>;

struct Attributes {
  Kind kind = Kind::kFile;
  uint32_t permissions = 0;  // 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;    // of regular files; otherwise 0
  uint64_t device = 0;  // of device nodes, as makedev(3) packs it; otherwise 0
  uint32_t link_count = 0;
  Timestamp access_time;
  Timestamp modify_time;
  Timestamp change_time;
  std::string link_target;  // of symlinks
  Xattrs xattrs;

  mode_t mode() const { return FormatOf(kind) | permissions; }
};

// All but link target and xattrs.
Attributes AttributesFromStat(const struct stat& stat_buffer);

// Names and values of an object's extended attributes may come to so many bytes. XFS and others
// take gigabytes; what is above is not read, and does not travel.
inline constexpr size_t kMaxXattrBytes = 8 << 20;

enum class WithXattrs { kNo, kYes };

// Everything about the object `fd` is open on; O_PATH descriptors will do, of symlinks too.
// Extended attributes that do not travel (IsReplicatedXattr), and those we may not read, are left
// out.
Result<Attributes> ReadAttributes(int fd, WithXattrs with_xattrs);

// Which extended attributes travel: those that mean the same on any filesystem. system.* (but POSIX
// ACLs), btrfs.*, ceph.* and the like are views of what one kind of filesystem keeps.
bool IsReplicatedXattr(const std::string& name);

}  // namespace tandem::meta
