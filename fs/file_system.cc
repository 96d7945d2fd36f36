#include "fs/file_system.h"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <exception>
#include <initializer_list>
#include <new>
#include <utility>

#include "meta/base/log.h"

namespace tandem::fs {
namespace {

#ifndef BCACHEFS_SUPER_MAGIC
#define BCACHEFS_SUPER_MAGIC 0xca451a4e
#endif

// Logs errors of our own. The application sees those of system calls.
void Report(const Error& error) {
  if (error.kind() != ErrorKind::kSystem) LogError("{}", error.ToString());
}

// FUSE_CAP_POSIX_ACL may be set only if the backing filesystem has ACLs: otherwise its EOPNOTSUPP
// would fail every permission check in the kernel.
bool HasAcls(const InodeFd& directory) {
  return getxattr(directory.path().c_str(), "system.posix_acl_access", nullptr, 0) >= 0 ||
         errno != EOPNOTSUPP;
}

bool IsOnOneOf(const InodeFd& directory, std::initializer_list<long> types) {
  struct statfs found;
  return fstatfs(directory.get(), &found) == 0 &&
         std::ranges::find(types, static_cast<long>(found.f_type)) != types.end();
}

// Returns whether close(2) is known to report no errors. Network filesystems write at close.
bool CloseCannotFail(const InodeFd& directory) {
  return IsOnOneOf(directory, {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
                               F2FS_SUPER_MAGIC, BCACHEFS_SUPER_MAGIC});
}

// Returns whether d_off leads to the same place in a directory through whatever descriptor, and
// whatever was removed before it. On ramfs, overlayfs and tmpfs before Linux 6.6 it counts entries.
bool HasStableOffsets(const InodeFd& directory) {
  return IsOnOneOf(directory, {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                               F2FS_SUPER_MAGIC, BCACHEFS_SUPER_MAGIC});
}

}  // namespace

Result<std::unique_ptr<FileSystem>> FileSystem::Create(int source_fd, meta::Capture* capture,
                                                       Settings settings) {
  ASSIGN_OR_RETURN(auto inodes, InodeTable::Create(source_fd));
  if (capture != nullptr && capture->follows_names()) {
    inodes->ReopenWith([capture](const meta::ObjectRef& object) { return capture->Open(object); });
  }
  ASSIGN_OR_RETURN(const InodeFd root, inodes->Descriptor(inodes->root()));
  const Backing backing = {.has_acls = HasAcls(root),
                           .close_cannot_fail = CloseCannotFail(root),
                           .has_stable_offsets = HasStableOffsets(root)};
  return std::unique_ptr<FileSystem>(
      new FileSystem(std::move(inodes), capture, std::move(settings), backing));
}

// The functions that libfuse calls. Exceptions stop here, and errors become replies.
template <typename... Arguments, Status (FileSystem::*kHandler)(Request&, Arguments...)>
struct FileSystem::Trampoline<kHandler> {
  static void Call(fuse_req_t raw, Arguments... arguments) {
    auto& file_system = *static_cast<FileSystem*>(fuse_req_userdata(raw));
    Request request(raw);
    try {
      Status status = (file_system.*kHandler)(request, arguments...);
      std::optional<TimePoint> failed;
      while (!status && file_system.WaitForFreedSpace(status.error(), failed)) {
        status = (file_system.*kHandler)(request, arguments...);
      }
      if (status) return;
      Report(status.error());
      request.Fail(status.error());
    } catch (const std::bad_alloc&) {
      LogError("out of memory in a filesystem operation");
    } catch (const std::exception& e) {
      LogError("exception in a filesystem operation: {}", e.what());
    }
  }
};

bool FileSystem::WaitForFreedSpace(const Error& error, std::optional<TimePoint>& failed) {
  if (!MeansNoRoom(error)) return false;
  if (!failed) failed = std::chrono::steady_clock::now();
  return inodes_->FinishRemovals(*failed + kFreedSpaceTimeout);
}

const fuse_lowlevel_ops& FileSystem::Operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops table = {};
    table.init = &FileSystem::Initialise;
    table.lookup = &Trampoline<&FileSystem::Lookup>::Call;
    table.forget = &Trampoline<&FileSystem::ForgetNode>::Call;
    table.forget_multi = &Trampoline<&FileSystem::ForgetNodes>::Call;
    table.getattr = &Trampoline<&FileSystem::GetAttributes>::Call;
    table.setattr = &Trampoline<&FileSystem::SetAttributes>::Call;
    table.readlink = &Trampoline<&FileSystem::ReadLink>::Call;
    table.statfs = &Trampoline<&FileSystem::Statfs>::Call;
    table.mknod = &Trampoline<&FileSystem::MakeNode>::Call;
    table.mkdir = &Trampoline<&FileSystem::MakeDirectory>::Call;
    table.symlink = &Trampoline<&FileSystem::MakeSymlink>::Call;
    table.link = &Trampoline<&FileSystem::Link>::Call;
    table.unlink = &Trampoline<&FileSystem::Unlink>::Call;
    table.rmdir = &Trampoline<&FileSystem::RemoveDirectory>::Call;
    table.rename = &Trampoline<&FileSystem::Rename>::Call;
    table.create = &Trampoline<&FileSystem::CreateFile>::Call;
    table.open = &Trampoline<&FileSystem::Open>::Call;
    table.flush = &Trampoline<&FileSystem::Flush>::Call;
    table.release = &Trampoline<&FileSystem::Release>::Call;
    table.fsync = &Trampoline<&FileSystem::Sync>::Call;
    table.read = &Trampoline<&FileSystem::Read>::Call;
    table.write_buf = &Trampoline<&FileSystem::Write>::Call;
    table.fallocate = &Trampoline<&FileSystem::Allocate>::Call;
    table.copy_file_range = &Trampoline<&FileSystem::CopyRange>::Call;
    table.lseek = &Trampoline<&FileSystem::Seek>::Call;
    table.opendir = &Trampoline<&FileSystem::OpenDir>::Call;
    table.readdir = &Trampoline<&FileSystem::ReadDir>::Call;
    table.readdirplus = &Trampoline<&FileSystem::ReadDirPlus>::Call;
    table.releasedir = &Trampoline<&FileSystem::ReleaseDir>::Call;
    table.fsyncdir = &Trampoline<&FileSystem::SyncDir>::Call;
    table.setxattr = &Trampoline<&FileSystem::SetXattr>::Call;
    table.getxattr = &Trampoline<&FileSystem::GetXattr>::Call;
    table.listxattr = &Trampoline<&FileSystem::ListXattrs>::Call;
    table.removexattr = &Trampoline<&FileSystem::RemoveXattr>::Call;
    table.ioctl = &Trampoline<&FileSystem::Control>::Call;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
    table.tmpfile = &Trampoline<&FileSystem::CreateTemporary>::Call;
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
    table.statx = &Trampoline<&FileSystem::Statx>::Call;
#endif
    return table;
  }();
  return operations;
}

Result<meta::Operation> FileSystem::Begin(const Inode& inode, const meta::Intent& intent) {
  if (!IsCaptured(inode)) return meta::Operation();
  return capture_->Begin(intent, settings_.optimizations.walk_order ? &walk_order_ : nullptr);
}

}  // namespace tandem::fs
