#include "fs/file_system.h"

#include <linux/magic.h>
#include <pthread.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <exception>
#include <new>
#include <tuple>
#include <utility>

#include "fs/serving/may_block.h"
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

// Returns whether close(2) is known to report no errors. Network filesystems write at close.
bool CloseCannotFail(const InodeFd& directory) {
  constexpr long kSilent[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,  BTRFS_SUPER_MAGIC,
                              TMPFS_MAGIC,      F2FS_SUPER_MAGIC, BCACHEFS_SUPER_MAGIC};
  struct statfs found;
  return fstatfs(directory.get(), &found) == 0 &&
         std::ranges::find(kSilent, static_cast<long>(found.f_type)) != std::end(kSilent);
}

// libfuse ends the threads of its rings by pthread_cancel. A handler must not be cancelled: what it
// has changed must be recorded.
class CancelDisabled {
 public:
  CancelDisabled() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~CancelDisabled() {
    int ignored;
    pthread_setcancelstate(before_, &ignored);
  }
  CancelDisabled(const CancelDisabled&) = delete;
  CancelDisabled& operator=(const CancelDisabled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace

Result<std::unique_ptr<FileSystem>> FileSystem::Create(int source_fd, meta::Capture* capture,
                                                       Settings settings) {
  ASSIGN_OR_RETURN(auto inodes, InodeTable::Create(source_fd));
  if (capture != nullptr && capture->follows_names()) {
    inodes->ReopenWith([capture](const meta::ObjectRef& object) { return capture->Open(object); });
  }
  ASSIGN_OR_RETURN(const InodeFd root, inodes->Descriptor(inodes->root()));
  const Backing backing = {.has_acls = HasAcls(root), .close_cannot_fail = CloseCannotFail(root)};
  return std::unique_ptr<FileSystem>(new FileSystem(std::move(inodes), capture, settings, backing));
}

namespace {

// Copies of a handler's arguments that outlive libfuse's call, for a request that runs in the pool.
// Names and data lie in the ring until the reply; everything else lies on libfuse's stack.
template <typename Argument>
class ArgumentCopy {
 public:
  explicit ArgumentCopy(Argument argument) : argument_(argument) {}
  Argument Get() { return argument_; }

 private:
  Argument argument_;
};
template <typename Pointed>
class PointeeCopy {
 public:
  explicit PointeeCopy(Pointed* pointer) : given_(pointer != nullptr) {
    if (given_) value_ = *pointer;
  }
  Pointed* Get() { return given_ ? &value_ : nullptr; }

 private:
  bool given_;
  Pointed value_ = {};
};
template <>
class ArgumentCopy<fuse_file_info*> : public PointeeCopy<fuse_file_info> {
  using PointeeCopy::PointeeCopy;
};
template <>
class ArgumentCopy<struct stat*> : public PointeeCopy<struct stat> {
  using PointeeCopy::PointeeCopy;
};
template <>
class ArgumentCopy<fuse_bufvec*> : public PointeeCopy<fuse_bufvec> {
  using PointeeCopy::PointeeCopy;  // has one buffer
};

// Unpatched, libfuse corrupts a ring if another thread replies while the ring's thread is about to
// submit.
#if defined(TANDEM_FUSE_RING_REPLIES_FROM_ANY_THREAD)
bool CanReplyFromAnyThread(fuse_req_t request) { return fuse_req_is_uring(request); }
#else
bool CanReplyFromAnyThread(fuse_req_t /*request*/) { return false; }
#endif

// Waits for the pool before a ring's thread ends, and with it the ring.
class RingThread {
 public:
  explicit RingThread(FileSystem& file_system) : file_system_(file_system) {}
  ~RingThread() {
    const CancelDisabled cancel_disabled;  // the thread may be cancelled while it ends by itself
    file_system_.FinishPooledRequests();
  }

 private:
  FileSystem& file_system_;
};

}  // namespace

// The functions that libfuse calls. Exceptions stop here, and errors become replies.
template <typename... Arguments, Status (FileSystem::*kHandler)(Request&, Arguments...),
          uint32_t kOpcode>
struct FileSystem::Trampoline<kHandler, kOpcode> {
  static void Call(fuse_req_t raw, Arguments... arguments) {
    auto* const file_system = static_cast<FileSystem*>(fuse_req_userdata(raw));
    const CancelDisabled cancel_disabled;
    if constexpr (MayBlock(kOpcode)) {
      if (CanReplyFromAnyThread(raw)) return HandleInRing(*file_system, raw, arguments...);
    }
    Handle(*file_system, raw, arguments...);
  }

 private:
  // A thread switch costs time, so the pool is used only if requests have been slow.
  static void HandleInRing(FileSystem& file_system, fuse_req_t raw, Arguments... arguments) {
    if (file_system.slow_requests_.SeesSlow() && RunInPool(file_system, raw, arguments...)) return;
    const SlowRequestDetector::Scope scope(file_system.slow_requests_);
    Handle(file_system, raw, arguments...);
  }

  // Returns false if the request could not be given to the pool.
  static bool RunInPool(FileSystem& file_system, fuse_req_t raw, Arguments... arguments) {
    thread_local const RingThread this_thread(file_system);
    try {
      return file_system.blocking_pool_.Run(
          [&file_system, raw,
           copies = std::tuple(ArgumentCopy<Arguments>(arguments)...)]() mutable {
            const SlowRequestDetector::Scope scope(file_system.slow_requests_);
            std::apply([&](auto&... one) { Handle(file_system, raw, one.Get()...); }, copies);
          });
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  static void Handle(FileSystem& file_system, fuse_req_t raw, Arguments... arguments) {
    Request request(raw);
    file_system.NoteTransport(request);
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

void FileSystem::NoteTransport([[maybe_unused]] const Request& request) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  if (!over_io_uring() && fuse_req_is_uring(request.raw())) over_io_uring_ = true;
#endif
}

const fuse_lowlevel_ops& FileSystem::Operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops table = {};
    table.init = &FileSystem::Initialise;
    table.lookup = &Trampoline<&FileSystem::Lookup>::Call;
    table.forget = &Trampoline<&FileSystem::ForgetNode, FUSE_FORGET>::Call;
    table.forget_multi = &Trampoline<&FileSystem::ForgetNodes, FUSE_BATCH_FORGET>::Call;
    table.getattr = &Trampoline<&FileSystem::GetAttributes>::Call;
    table.setattr = &Trampoline<&FileSystem::SetAttributes, FUSE_SETATTR>::Call;
    table.readlink = &Trampoline<&FileSystem::ReadLink>::Call;
    table.statfs = &Trampoline<&FileSystem::Statfs>::Call;
    table.mknod = &Trampoline<&FileSystem::MakeNode, FUSE_MKNOD>::Call;
    table.mkdir = &Trampoline<&FileSystem::MakeDirectory, FUSE_MKDIR>::Call;
    table.symlink = &Trampoline<&FileSystem::MakeSymlink, FUSE_SYMLINK>::Call;
    table.link = &Trampoline<&FileSystem::Link, FUSE_LINK>::Call;
    table.unlink = &Trampoline<&FileSystem::Unlink, FUSE_UNLINK>::Call;
    table.rmdir = &Trampoline<&FileSystem::RemoveDirectory, FUSE_RMDIR>::Call;
    table.rename = &Trampoline<&FileSystem::Rename, FUSE_RENAME>::Call;
    table.create = &Trampoline<&FileSystem::CreateFile, FUSE_CREATE>::Call;
    table.open = &Trampoline<&FileSystem::Open>::Call;
    table.flush = &Trampoline<&FileSystem::Flush, FUSE_FLUSH>::Call;
    table.release = &Trampoline<&FileSystem::Release, FUSE_RELEASE>::Call;
    table.fsync = &Trampoline<&FileSystem::Sync, FUSE_FSYNC>::Call;
    table.read = &Trampoline<&FileSystem::Read, FUSE_READ>::Call;
    table.write_buf = &Trampoline<&FileSystem::Write, FUSE_WRITE>::Call;
    table.fallocate = &Trampoline<&FileSystem::Allocate, FUSE_FALLOCATE>::Call;
    table.copy_file_range = &Trampoline<&FileSystem::CopyRange, FUSE_COPY_FILE_RANGE>::Call;
    table.lseek = &Trampoline<&FileSystem::Seek, FUSE_LSEEK>::Call;
    table.opendir = &Trampoline<&FileSystem::OpenDir>::Call;
    table.readdir = &Trampoline<&FileSystem::ReadDir>::Call;
    table.readdirplus = &Trampoline<&FileSystem::ReadDirPlus>::Call;
    table.releasedir = &Trampoline<&FileSystem::ReleaseDir>::Call;
    table.fsyncdir = &Trampoline<&FileSystem::SyncDir, FUSE_FSYNCDIR>::Call;
    table.setxattr = &Trampoline<&FileSystem::SetXattr, FUSE_SETXATTR>::Call;
    table.getxattr = &Trampoline<&FileSystem::GetXattr>::Call;
    table.listxattr = &Trampoline<&FileSystem::ListXattrs>::Call;
    table.removexattr = &Trampoline<&FileSystem::RemoveXattr, FUSE_REMOVEXATTR>::Call;
    table.ioctl = &Trampoline<&FileSystem::Control, FUSE_IOCTL>::Call;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
    table.tmpfile = &Trampoline<&FileSystem::CreateTemporary, FUSE_TMPFILE>::Call;
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
