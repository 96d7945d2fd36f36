// ioctl: the flags of chattr(1) and what goes with them. The kernel checks that the caller owns the
// object, and may set the flags that need a capability; it copies in and out as many bytes as the
// command says.
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "fs/file_system.h"

namespace tandem::fs {
namespace {

using meta::Intent;
using meta::Operation;

// The commands that are passed on; what others do to a replica's files is not known. (Commands on
// flags are declared with a long, and take an int.)
struct Command {
  unsigned number;
  size_t size;
  bool changes;
};
constexpr Command kCommands[] = {
    {FS_IOC_GETFLAGS, sizeof(int), false},       {FS_IOC_SETFLAGS, sizeof(int), true},
    {FS_IOC_FSGETXATTR, sizeof(fsxattr), false}, {FS_IOC_FSSETXATTR, sizeof(fsxattr), true},
    {FS_IOC_GETVERSION, sizeof(int), false},
};

}  // namespace

Status FileSystem::Control(Request& request, fuse_ino_t node, unsigned number, void* /*argument*/,
                           fuse_file_info* info, unsigned flags, const void* in, size_t in_size,
                           size_t out_size) {
  const auto* const command =
      std::ranges::find_if(kCommands, [&](const Command& c) { return c.number == number; });
  if (command == std::end(kCommands)) return ErrnoError(ENOTTY, "ioctl");
  const int fd =
      (flags & FUSE_IOCTL_DIR) != 0 ? directories_.Get(info->fh).fd() : files_.Get(info->fh).fd();
  alignas(fsxattr) char value[sizeof(fsxattr)] = {};
  if (in_size > 0) std::memcpy(value, in, std::min(in_size, command->size));
  if (!command->changes) {
    if (ioctl(fd, number, value) != 0) return ErrnoError("ioctl");
    request.ReplyControl({value, std::min(out_size, command->size)});
    return {};
  }
  // Flags do not travel, but the ctime they set does.
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(Operation operation, Begin(inode, Intent().Attributes(inode.ref())));
  {
    ASSIGN_OR_RETURN(const auto credentials, CallerCredentials::Assume(request.caller()));
    if (ioctl(fd, number, value) != 0) return ErrnoError("ioctl");
  }
  operation.ChangedAttributes(inode.ref(), meta::kStatAttributes);
  operation.End();
  MakeKernelForgetAttributes(node);  // it does not know that the ctime is another now
  request.ReplyControl({});
  return {};
}

}  // namespace tandem::fs
