// Attributes are everything about an object but its content: kind, mode, owner, times, device, link
// target and extended attributes. POSIX ACLs and file capabilities are extended attributes, as they
// are for the kernel. Any thread.
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
// Returns the S_IFMT bits.
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
  uint32_t permissions = 0;  // the bits 07777 of the mode
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;    // 0 unless it is a regular file
  uint64_t device = 0;  // as packed by makedev(3); 0 unless it is a device node
  uint32_t link_count = 0;
  Timestamp access_time;
  Timestamp modify_time;
  Timestamp change_time;
  std::string link_target;  // empty unless it is a symlink
  Xattrs xattrs;

  mode_t mode() const { return FormatOf(kind) | permissions; }
};

// Fills in everything but link target and xattrs.
Attributes AttributesFromStat(const struct stat& stat_buffer);

// The maximum total size of the names and values of an object's extended attributes. XFS and others
// allow gigabytes. ReadAttributes returns E2BIG for an object that has more, so they are not
// replicated.
inline constexpr size_t kMaxXattrBytes = 8 << 20;

enum class WithXattrs { kNo, kYes };

// Reads the attributes of the object that `fd` is open on. `fd` may be an O_PATH descriptor, of a
// symlink too. Leaves out extended attributes that are not replicated (IsReplicatedXattr) or that
// we have no permission to read.
Result<Attributes> ReadAttributes(int fd, WithXattrs with_xattrs);
// Likewise, with extended attributes, those of the object that `name` in the directory leads to,
// without opening it. What changes meanwhile may be read in part before and in part after it.
// Returns ESTALE if the name is seen to lead to another object than at first.
Result<Attributes> ReadAttributesAt(int directory_fd, const char* name);

// Returns whether the extended attribute is replicated. Only attributes that mean the same on every
// filesystem are. system.* (except POSIX ACLs), btrfs.*, ceph.* and the like expose the internal
// state of one kind of filesystem.
bool IsReplicatedXattr(const std::string& name);

}  // namespace tandem::meta
