// A mounted tandemfs: the session with the kernel, the threads that serve it, and its clean end.
//
//   StopSignals signals;                          // in main, before any thread is started
//   ASSIGN_OR_RETURN(auto mount, FileSystemMount::Create({...}));
//   ... whatever else may fail ...
//   RETURN_IF_ERROR(mount->Attach());             // from here on it shows
//   ... tell the waiting parent that the mount is usable ...
//   Status status = mount->Run();                 // until unmounted, signalled or stopped
//
// Create, Attach and Run belong to one thread; Stop and Held may be called from any. The capture
// given must outlive the FileSystemMount; no operation is inside it any more once Run has returned.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/writable_files.h"
#include "fs/mount/kernel_mount.h"
#include "fs/mount/mountpoint.h"
#include "fs/mount/stop_signals.h"
#include "fs/mount/tuning.h"
#include "fs/optimizations.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/capture.h"

struct fuse_args;
struct fuse_session;

namespace tandem::fs {

class FileSystem;
class MountWatcher;
class ServingThreads;
class StopWatcher;
struct SessionOptions;

struct MountOptions {
  // The directory to show, opened before the mount (any access mode, O_PATH will do); it must stay
  // open for as long as the FileSystemMount lives. `source` is its name, in messages and in the
  // mount table: it is never resolved again. `source_mount` is the id of its mount there.
  int source_fd = -1;
  int source_mount = 0;
  std::string source;
  std::string mountpoint;
  // As after -o: libfuse's own, and those of fs/mount/mount_options.h.
  std::string fuse_options;
  // The first column of the mount table.
  std::string fs_name;
  Optimizations optimizations;
  // Null: pass through only.
  meta::Capture* capture = nullptr;
  // Already placed, by a start that takes over from a live tandemfs. Usually null.
  std::unique_ptr<KernelMount> kernel_mount;
  // How the stores that the kernel holds are taken in at the end, and for how long at most. Without
  // it they are lost.
  FlushFunction flush;
  // Called when the end begins, before stores are taken in. May be empty.
  std::function<void()> on_end;
  std::chrono::seconds stop_timeout = kDefaultStopTimeout;
};

class FileSystemMount {
 public:
  // Prepares everything; nothing shows yet. ErrorKind::kUsage: options or directories that make no
  // sense.
  static Result<std::unique_ptr<FileSystemMount>> Create(MountOptions options);

  FileSystemMount(const FileSystemMount&) = delete;
  FileSystemMount& operator=(const FileSystemMount&) = delete;
  // Unmounts if that has not happened.
  ~FileSystemMount();

  // When it returns, the mount stands in the mount table: calls on it wait for Run. A dead mount
  // that stood there is gone. On error what is mounted there is what was.
  Status Attach();

  // Serves until the filesystem is unmounted, until SIGTERM or SIGINT (where a StopSignals blocks
  // them), or until Stop. Operations that were running have been answered when it returns,
  // and what the kernel held has been taken in, or unflushed_files() says where not. Call once.
  Status Run();
  // After Run: files of which stores may be lost.
  const std::vector<std::string>& unflushed_files() const { return unflushed_files_; }

  // Makes Run return soon, now or as soon as it is called. Does not wait; a handler may call it.
  void Stop();

  // Whether requests come over io_uring: the kernel must allow it (module parameter
  // fuse.enable_uring), and libfuse be 3.18.
  bool OverIoUring() const;

  // What MountOptions::mountpoint is really called.
  const std::string& mountpoint() const { return mountpoint_; }

  // What the kernel may hold of this mount now.
  WritableFiles ListWritableFiles() EXCLUDES(mutex_);

 private:
  FileSystemMount(std::string mountpoint, MountOptions options,
                  std::unique_ptr<FileSystem> file_system, std::unique_ptr<StopWatcher> watcher,
                  const SessionOptions& session);
  Status MakeSession(fuse_args* arguments);
  Status MountSession(const std::string& where);
  int Serve();
  // In the watcher's thread, while the others still serve.
  void LeaveLoop();
  void FlushWritableFiles();
  std::string device() EXCLUDES(mutex_);
  Status Unmount();

  const std::string mountpoint_;
  std::unique_ptr<KernelMount> kernel_mount_;  // null where libfuse mounts
  const MountOptions options_;
  const std::unique_ptr<FileSystem> file_system_;
  const std::unique_ptr<StopWatcher> watcher_;
  const unsigned max_threads_;
  const bool io_uring_;  // asked for
  fuse_session* session_ = nullptr;
  Mutex mutex_;
  std::string device_ GUARDED_BY(mutex_);  // "major:minor"; empty until attached
  std::vector<std::string> unflushed_files_;
  std::unique_ptr<ServingThreads> threads_;
  std::unique_ptr<MountWatcher> mount_watcher_;
};

}  // namespace tandem::fs
