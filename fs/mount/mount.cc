#include "fs/mount/mount.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "fs/file_system.h"
#include "fs/mount/mount_options.h"
#include "fs/mount/mount_watcher.h"
#include "fs/mount/process_setup.h"
#include "fs/mount/session_log.h"
#include "fs/mount/stop_watcher.h"
#include "fs/mount/tuning.h"
#include "fs/serving/serving_threads.h"
#include "fs/serving/tuning.h"
#include "meta/base/ancestry.h"
#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/base/mount_table.h"

namespace tandem::fs {
namespace {

// A mount below SOURCE would contain itself, so serving a request would wait for another. Checks
// the parents of the mountpoint only: the mountpoint itself may be dead, or SOURCE.
Status CheckNotBelow(const MountOptions& options, const std::string& mountpoint) {
  const UniqueFd start(open(mountpoint.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!start.valid()) return ErrnoError("mountpoint " + mountpoint);
  if (mountpoint == "/") return {};
  const auto source = StatIdentity(options.source_fd, "");
  if (!source) return ErrnoError(source.error().code(), "stat " + options.source);
  UniqueFd above(open(DirectoryAbove(mountpoint).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!above.valid()) return ErrnoError("parent directories of " + mountpoint);
  const auto is_below = IsAtOrBelow(std::move(above), *source);
  if (!is_below) return ErrnoError(is_below.error().code(), "parent directories of " + mountpoint);
  if (!*is_below) return {};
  return MakeError(ErrorKind::kUsage, "the mountpoint " + mountpoint + " lies below the source " +
                                          options.source +
                                          ": choose one outside, or the source itself");
}

Transport& TransportOf(void* user_data) { return static_cast<FileSystem*>(user_data)->transport(); }

}  // namespace

Result<std::unique_ptr<FileSystemMount>> FileSystemMount::Create(MountOptions options) {
  PrepareProcess();
  RedirectSessionLog();
  ASSIGN_OR_RETURN(std::string mountpoint, ResolveMountpoint(options.mountpoint));
  RETURN_IF_ERROR(CheckNotBelow(options, mountpoint));
  ASSIGN_OR_RETURN(auto session, SessionOptions::Parse(options.fuse_options, options.fs_name));
  ASSIGN_OR_RETURN(const bool io_uring, OfferIoUring(session.io_uring));
  ASSIGN_OR_RETURN(auto file_system, FileSystem::Create(options.source_fd, options.capture,
                                                        {.writeback = session.writeback,
                                                         .noatime = session.noatime,
                                                         .max_read = session.max_read,
                                                         .optimizations = options.optimizations,
                                                         .describe = options.describe}));
  ASSIGN_OR_RETURN(auto watcher, StopWatcher::Create());
  std::unique_ptr<FileSystemMount> mount(
      new FileSystemMount(std::move(mountpoint), std::move(options), std::move(file_system),
                          std::move(watcher), session, io_uring));
  RETURN_IF_ERROR(mount->MakeSession(session.arguments.get()));
  return mount;
}

FileSystemMount::FileSystemMount(std::string mountpoint, MountOptions options,
                                 std::unique_ptr<FileSystem> file_system,
                                 std::unique_ptr<StopWatcher> watcher,
                                 const SessionOptions& session, bool io_uring)
    : mountpoint_(std::move(mountpoint)),
      kernel_mount_(std::move(options.kernel_mount)),
      options_(std::move(options)),
      file_system_(std::move(file_system)),
      watcher_(std::move(watcher)),
      max_threads_(session.max_threads),
      io_uring_(io_uring) {}

FileSystemMount::~FileSystemMount() {
  mount_watcher_.reset();
  if (session_ == nullptr) return;
  if (kernel_mount_ == nullptr) fuse_session_unmount(session_);
  // Closes the connection first, so that detaching the mount waits for no reply.
  fuse_session_destroy(session_);
}

Status FileSystemMount::MakeSession(fuse_args* arguments) {
  const SessionErrors errors;
  session_ = fuse_session_new(arguments, &FileSystem::Operations(), sizeof(fuse_lowlevel_ops),
                              file_system_.get());
  if (session_ == nullptr) {
    return MakeError(ErrorKind::kUsage, "mount options: " + errors.Text());
  }
  file_system_->Attach(session_, [this](const WritableFile& file) {
    if (options_.flush == nullptr) return;
    // Without times: fsync would wait for the inode's lock, which the kernel holds.
    const WritableFiles files = {device(), mountpoint_, /*with_times=*/false, {file}};
    (void)options_.flush(files, std::chrono::steady_clock::now() + options_.stop_timeout);
  });
  if (kernel_mount_ == nullptr) {
    ASSIGN_OR_RETURN(kernel_mount_, KernelMount::Create(KernelMountOptions::Parse(
                                        options_.fuse_options, options_.fs_name)));
  }
  return kernel_mount_ == nullptr ? Status() : MountSession(kernel_mount_->DevicePath());
}

Status FileSystemMount::MountSession(const std::string& where) {
  const SessionErrors errors;
  if (fuse_session_mount(session_, where.c_str()) == 0) {
    if (kernel_mount_ != nullptr) (void)kernel_mount_->ReleaseDevice();
    UseIoUring();
    return {};
  }
  return MakeError(ErrorKind::kSystem, "mount on " + mountpoint_ + " (" + errors.Text() + ")");
}

void FileSystemMount::UseIoUring() {
  if (!io_uring_) return;
  const Status attached = file_system_->transport().Attach<TransportOf>(session_);
  if (!attached) LogWarning("requests come over /dev/fuse: {}", attached.error().ToString());
}

Status FileSystemMount::Attach() {
  if (kernel_mount_ == nullptr) {
    ASSIGN_OR_RETURN(const Occupant occupant, OccupantOf(mountpoint_));
    if (occupant == Occupant::kLive) return AlreadyMounted(mountpoint_);
    RETURN_IF_ERROR(RemoveDeadMounts(mountpoint_));
    RETURN_IF_ERROR(MountSession(mountpoint_));
    ASSIGN_OR_RETURN(const auto stack, MountsAt(mountpoint_));
    MutexLock lock(mutex_);
    if (!stack.empty()) device_ = stack.back().device;
  } else {
    if (!kernel_mount_->attached()) {
      RETURN_IF_ERROR(kernel_mount_->Attach(mountpoint_, KernelMount::Place::kFreeOrDead));
    } else {
      // The tandemfs that was taken over from has ended, but may have left its mount.
      RETURN_IF_ERROR(kernel_mount_->DetachDeadAbove(mountpoint_));
    }
    MutexLock lock(mutex_);
    device_ = kernel_mount_->device();
  }
  threads_ = std::make_unique<ServingThreads>(
      session_,
      ServingThreads::Options{max_threads_, options_.optimizations.reader_policy,
                              options_.optimizations.reader_spin, &file_system_->transport()});
  ASSIGN_OR_RETURN(mount_watcher_,
                   MountWatcher::Start(options_.source_mount, options_.source,
                                       [fs = file_system_.get()] { fs->OnMountsChanged(); }));
  return {};
}

Status FileSystemMount::Run() {
  RETURN_IF_ERROR(watcher_->Start([this] { Shutdown(); }, options_.on_hangup));
  const int result = Serve();
  mount_watcher_.reset();
  file_system_->FinishDelayedCalls();
  // Also ends Shutdown if that still waits for the filesystem, which is no longer served.
  const Status unmounted = Unmount();
  watcher_->Finish();
  RETURN_IF_ERROR(unmounted);
  if (result < 0) return ErrnoError(-result, "serve " + mountpoint_);
  return {};
}

// Requests are no longer served, so the connection is closed before the mount is detached:
// otherwise the kernel could wait for a write.
Status FileSystemMount::Unmount() {
  if (kernel_mount_ == nullptr) {
    fuse_session_unmount(session_);
    // After an abort through /sys/fs/fuse libfuse believes that it is unmounted, and leaves it.
    if (const Status removed = RemoveDeadMounts(mountpoint_); !removed) {
      LogWarning("{}", removed.error().ToString());
    }
    return {};
  }
  const UniqueFd nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing.valid() || dup3(nothing.get(), fuse_session_fd(session_), O_CLOEXEC) < 0) {
    return ErrnoError("end the connection with the kernel");
  }
  if (const Status detached = kernel_mount_->Detach(); !detached) {
    LogWarning("{}", detached.error().ToString());
  }
  return {};
}

int FileSystemMount::Serve() {
  const int result = threads_->Run();
  file_system_->transport().Stop();
  return result;
}

bool FileSystemMount::OverIoUring() const { return file_system_->transport().over_io_uring(); }

void FileSystemMount::Stop() { watcher_->Request(); }

std::string FileSystemMount::device() {
  MutexLock lock(mutex_);
  return device_;
}

WritableFiles FileSystemMount::ListWritableFiles() {
  return {device(), mountpoint_, file_system_->settings().writeback,
          file_system_->ListWritableFiles()};
}

void FileSystemMount::Shutdown() {
  if (options_.on_end != nullptr) options_.on_end();
  file_system_->FinishDelayedCalls();
  FlushWritableFiles();
  FAULT_POINT("source.stop.taken_in");
  // Detaches while still serving. From now on path lookup finds what is beneath, such as the mount
  // of a tandemfs that takes over.
  if (kernel_mount_ != nullptr) {
    if (const Status detached = kernel_mount_->Detach(); !detached) {
      LogWarning("{}", detached.error().ToString());
    }
  }
  FAULT_POINT("source.stop.detached");
  fuse_session_exit(session_);
  threads_->Interrupt();
}

// Flushes all files that are open for writing, repeatedly, until a pass causes no writeback.
// Programs may go on storing into mappings, so there is a last pass at the deadline. A file that
// cannot be flushed (a failing disk) is tried twice.
void FileSystemMount::FlushWritableFiles() {
  using Clock = std::chrono::steady_clock;
  if (options_.flush == nullptr) return;
  const auto deadline = Clock::now() + options_.stop_timeout;
  std::set<fuse_ino_t> lacking;  // not flushed, or written back during the last pass
  for (bool last = false;; last = Clock::now() >= deadline) {
    const WritableFiles files = ListWritableFiles();
    const auto until = last ? Clock::now() + kLastFlush : deadline;
    (void)file_system_->writebacks().Take();
    const std::vector<WritableFile> missed = options_.flush(files, until);
    const std::set<fuse_ino_t> written = file_system_->writebacks().Take();
    const std::set<fuse_ino_t> before = std::exchange(lacking, written);
    for (const WritableFile& file : missed) lacking.insert(file.node);
    if (!last && !lacking.empty() && (!written.empty() || lacking != before)) continue;
    for (const WritableFile& file : files.files) {
      if (lacking.contains(file.node)) unflushed_files_.push_back(file.path);
    }
    return;
  }
}

}  // namespace tandem::fs
