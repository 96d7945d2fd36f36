// ioctl: the inode flags of chattr(1). The kernel checks that the caller owns the object and has
// the capabilities that some flags need. It copies in and out as many bytes as the command says.
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "fs/file_system.h"

namespace tandem::fs {
namespace {

using meta::Intent;
using meta::Operation;

// The commands that are passed on. What others change is not known, so they are refused. (Commands
// on flags are declared with a long and take an int.)
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

bool MakesImmutable(unsigned number, const char* value) {
  if (number == FS_IOC_SETFLAGS) {
    int flags;
    std::memcpy(&flags, value, sizeof flags);
    return (flags & FS_IMMUTABLE_FL) != 0;
  }
  fsxattr attributes;
  std::memcpy(&attributes, value, sizeof attributes);
  return number == FS_IOC_FSSETXATTR && (attributes.fsx_xflags & FS_XFLAG_IMMUTABLE) != 0;
}

}  // namespace

Status FileSystem::Control(Request& request, fuse_ino_t node, unsigned number, void* /*argument*/,
                           fuse_file_info* info, unsigned flags, const void* in, size_t in_size,
                           size_t out_size) {
  const auto* const command =
      std::ranges::find_if(kCommands, [&](const Command& c) { return c.number == number; });
  if (command == std::end(kCommands)) return ErrnoError(ENOTTY, "ioctl");
  UniqueFd directory;
  if ((flags & FUSE_IOCTL_DIR) != 0) {
    ASSIGN_OR_RETURN(directory, inodes_->Open(inodes_->Get(node), O_RDONLY | O_DIRECTORY));
  }
  const int fd = directory.valid() ? directory.get() : files_.Get(info->fh).fd();
  ControlValue value = {};
  if (in_size > 0) std::memcpy(value.data(), in, std::min(in_size, command->size));
  if (!command->changes) {
    if (ioctl(fd, number, value.data()) != 0) return ErrnoError("ioctl");
    request.ReplyControl({value.data(), std::min(out_size, command->size)});
    return {};
  }
  if (MakesImmutable(number, value.data()) && inodes_->Get(node).IsOpenForWriting()) {
    ChangeFlagsLater(request, node, number, fd, value);
    return {};
  }
  return ChangeFlags(request, node, number, fd, value);
}

// Flags are not replicated, but the ctime that the change sets is.
Status FileSystem::ChangeFlags(Request& request, fuse_ino_t node, unsigned number, int fd,
                               ControlValue value) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(Operation operation, Begin(inode, Intent().Attributes(inode.ref())));
  {
    ASSIGN_OR_RETURN(const auto credentials, CallerCredentials::Assume(request.caller()));
    if (ioctl(fd, number, value.data()) != 0) return ErrnoError("ioctl");
  }
  operation.ChangedAttributes(inode.ref(), meta::kStatAttributes);
  operation.End();
  InvalidateAttributes(node);  // the ctime has changed
  request.ReplyControl({});
  return {};
}

// Once a file is immutable nothing can be written to it, not even through open descriptors, so the
// kernel must write back what it caches first. Those are requests, which no handler may wait for,
// nor any thread of this process (fs/writable_files.h). The kernel holds the inode's lock until
// this request is answered, so no write(2) comes in between.
void FileSystem::ChangeFlagsLater(Request& request, fuse_ino_t node, unsigned number, int fd,
                                  const ControlValue& value) {
  const auto shared = std::make_shared<Request>(std::move(request));
  const auto change = [this, shared, node, number, fd, value] {
    const Status changed = ChangeFlags(*shared, node, number, fd, value);
    if (!changed) shared->Fail(changed.error());
  };
  const WritableFile file = {node, inodes_->Get(node).generation(), NameOf(fd)};
  const auto started = delayed_calls_.Start([this, file, change] {
    flush_file_(file);
    change();
  });
  if (started == DelayedCalls::Started::kNo) change();
  // Without the flush, stores through mappings would be lost.
  if (started == DelayedCalls::Started::kTooMany)
    shared->Fail(Error(ErrorKind::kSystem, EBUSY, "ioctl"));
}

void FileSystem::FinishDelayedCalls() { delayed_calls_.Finish(); }

}  // namespace tandem::fs
