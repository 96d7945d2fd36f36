#include "fs/mount.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/file_system.h"
#include "fs/mount_options.h"
#include "fs/mount_watcher.h"
#include "fs/process_setup.h"
#include "fs/serving_threads.h"
#include "fs/session_log.h"
#include "fs/stop_watcher.h"
#include "meta/base/log.h"

namespace tandem::fs {
namespace {

Result<struct stat> StatDirectory(int fd, const std::string& name) {
  struct stat attributes;
  if (fstatat(fd, "", &attributes, AT_EMPTY_PATH) != 0) return ErrnoError("stat " + name);
  if (!S_ISDIR(attributes.st_mode)) return ErrnoError(ENOTDIR, name);
  return attributes;
}

// A mount below SOURCE would show itself, and serving a request would wait for another.
Status CheckNotBelow(const MountOptions& options, const std::string& mountpoint) {
  ASSIGN_OR_RETURN(const struct stat source, StatDirectory(options.source_fd, options.source));
  UniqueFd fd(open(mountpoint.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("mountpoint " + mountpoint);
  ASSIGN_OR_RETURN(struct stat here, StatDirectory(fd.get(), mountpoint));
  while (true) {
    UniqueFd parent_fd(openat(fd.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!parent_fd.valid()) return ErrnoError("parent directories of " + mountpoint);
    ASSIGN_OR_RETURN(const struct stat parent, StatDirectory(parent_fd.get(), mountpoint));
    if (parent.st_dev == here.st_dev && parent.st_ino == here.st_ino) return {};
    if (parent.st_dev == source.st_dev && parent.st_ino == source.st_ino) {
      return MakeError(ErrorKind::kUsage, "the mountpoint " + mountpoint +
                                              " lies below the source " + options.source +
                                              ": choose one outside, or the source itself");
    }
    fd = std::move(parent_fd);
    here = parent;
  }
}

}  // namespace

Result<std::unique_ptr<FileSystemMount>> FileSystemMount::Create(const MountOptions& options) {
  PrepareProcess();
  RedirectSessionLog();
  RETURN_IF_ERROR(RemoveDeadMount(options.mountpoint));
  ASSIGN_OR_RETURN(std::string mountpoint, ResolveMountpoint(options.mountpoint));
  RETURN_IF_ERROR(CheckNotBelow(options, mountpoint));
  ASSIGN_OR_RETURN(auto session, SessionOptions::Parse(options.fuse_options, options.fs_name));
  ASSIGN_OR_RETURN(auto file_system, FileSystem::Create(options.source_fd, options.capture,
                                                        {.writeback = session.writeback,
                                                         .noatime = session.noatime,
                                                         .max_read = session.max_read}));
  ASSIGN_OR_RETURN(auto watcher, StopWatcher::Create());
  std::unique_ptr<FileSystemMount> mount(new FileSystemMount(
      std::move(mountpoint), std::move(file_system), std::move(watcher), session));
  RETURN_IF_ERROR(mount->MountSession(session.arguments.get()));
  ASSIGN_OR_RETURN(mount->mount_watcher_, MountWatcher::Start(options.source_fd, options.source,
                                                              [fs = mount->file_system_.get()] {
                                                                fs->MountsHaveChanged();
                                                              }));
  return mount;
}

FileSystemMount::FileSystemMount(std::string mountpoint, std::unique_ptr<FileSystem> file_system,
                                 std::unique_ptr<StopWatcher> watcher,
                                 const SessionOptions& options)
    : mountpoint_(std::move(mountpoint)),
      file_system_(std::move(file_system)),
      watcher_(std::move(watcher)),
      max_threads_(options.max_threads),
      io_uring_(options.io_uring) {}

FileSystemMount::~FileSystemMount() {
  mount_watcher_.reset();
  if (session_ == nullptr) return;
  if (mounted_) fuse_session_unmount(session_);
  fuse_session_destroy(session_);
}

Status FileSystemMount::MountSession(fuse_args* arguments) {
  const SessionErrors errors;
  session_ = fuse_session_new(arguments, &FileSystem::Operations(), sizeof(fuse_lowlevel_ops),
                              file_system_.get());
  if (session_ == nullptr) {
    return MakeError(ErrorKind::kUsage, "mount options: " + errors.Text());
  }
  file_system_->Attach(session_);
  if (fuse_session_mount(session_, mountpoint_.c_str()) != 0) {
    return MakeError(ErrorKind::kSystem, "mount on " + mountpoint_ + " (" + errors.Text() + ")");
  }
  mounted_ = true;
  threads_ = std::make_unique<ServingThreads>(session_, max_threads_);
  return {};
}

Status FileSystemMount::Run() {
  BecomeFlusher();
  RETURN_IF_ERROR(watcher_->Start([this] { LeaveLoop(); }));
  const int result = Serve();
  mount_watcher_.reset();
  file_system_->FinishDelayedCalls();
  // Also what ends LeaveLoop if it is still asking a filesystem that nobody serves any more.
  fuse_session_unmount(session_);
  mounted_ = false;
  watcher_->Finish();
  // After an abort through /sys/fs/fuse libfuse takes the mount for gone.
  if (const Status removed = RemoveDeadMount(mountpoint_); !removed) {
    LogWarning("{}", removed.error().ToString());
  }
  if (result < 0) return ErrnoError(-result, "serve " + mountpoint_);
  return {};
}

int FileSystemMount::Serve() {
  if (!io_uring_) return threads_->Run();
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  // libfuse's loop also stops the threads of its rings.
  fuse_loop_config* const config = fuse_loop_cfg_create();
  if (config == nullptr) return -ENOMEM;
  fuse_loop_cfg_set_max_threads(config, max_threads_);
  const int result = fuse_session_loop_mt(session_, config);
  fuse_loop_cfg_destroy(config);
  return result;
#else
  return -ENOSYS;
#endif
}

bool FileSystemMount::OverIoUring() const { return file_system_->over_io_uring(); }

void FileSystemMount::Stop() { watcher_->Request(); }

void FileSystemMount::LeaveLoop() {
  {
    // Stores through shared mappings that the kernel still holds come to us now, or never.
    const UniqueFd root(open(mountpoint_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root.valid()) syncfs(root.get());
  }
  file_system_->FinishDelayedCalls();
  fuse_session_exit(session_);
  if (!io_uring_) threads_->Interrupt();
}

}  // namespace tandem::fs
