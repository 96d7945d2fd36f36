// A mounted tandemfs: the session with the kernel, the threads that serve it, and its shutdown.
//
//   StopSignals signals;                          // in main, before any thread is started
//   ASSIGN_OR_RETURN(auto mount, FileSystemMount::Create({...}));
//   ... everything else that may fail ...
//   RETURN_IF_ERROR(mount->Attach());             // from here on the mount is visible
//   ... tell the waiting parent that the mount is usable ...
//   Status status = mount->Run();                 // until unmounted, signalled or stopped
//
// Create, Attach and Run belong to one thread. Stop and ListWritableFiles may be called by any
// thread. The capture must outlive the FileSystemMount. No operation is inside it after Run has
// returned.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/describe_object.h"
#include "fs/mount/kernel_mount.h"
#include "fs/mount/mountpoint.h"
#include "fs/mount/stop_signals.h"
#include "fs/mount/tuning.h"
#include "fs/optimizations.h"
#include "fs/writable_files.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/capture/capture.h"

struct fuse_args;
struct fuse_session;

namespace tandem::fs {

class FileSystem;
class MountWatcher;
class ServingThreads;
class StopWatcher;
struct SessionOptions;

struct MountOptions {
  // The directory to show, opened before the mount in any access mode, O_PATH included. It must
  // stay open as long as the FileSystemMount lives. `source` is its path, for messages; it is not
  // resolved again. `source_mount` is the id of its mount in the mount table.
  int source_fd = -1;
  int source_mount = 0;
  std::string source;
  std::string mountpoint;
  // The argument of -o: libfuse's options and those of fs/mount/mount_options.h.
  std::string fuse_options;
  // The first column of the mount table.
  std::string fs_name;
  Optimizations optimizations;
  // Null: nothing is captured.
  meta::Capture* capture = nullptr;
  // A mount that is already placed, when taking over from a live tandemfs. Otherwise null.
  std::unique_ptr<KernelMount> kernel_mount;
  // Flushes the files that are open for writing when the mount ends. Without it, writes that the
  // kernel still caches are lost.
  FlushFunction flush;
  // Called when the shutdown begins, before files are flushed. May be empty.
  std::function<void()> on_end;
  // Called on SIGHUP, until the mount ends. May be empty.
  std::function<void()> on_hangup;
  // May be empty.
  DescribeObject describe;
  // How long `flush` may take at the end.
  std::chrono::seconds stop_timeout = kDefaultStopTimeout;
};

class FileSystemMount {
 public:
  // Prepares everything but does not mount. Fails with kUsage if options or directories are not
  // usable.
  static Result<std::unique_ptr<FileSystemMount>> Create(MountOptions options);

  FileSystemMount(const FileSystemMount&) = delete;
  FileSystemMount& operator=(const FileSystemMount&) = delete;
  // Unmounts if Run has not.
  ~FileSystemMount();

  // Mounts, and removes a dead mount that stood there. System calls on the mount wait for Run. On
  // error the mountpoint is as it was.
  Status Attach();

  // Serves until the filesystem is unmounted, until SIGTERM or SIGINT (if a StopSignals lives), or
  // until Stop. When it returns, running operations have been answered and files open for writing
  // have been flushed, except unflushed_files(). Must be called once.
  Status Run();
  // After Run: paths of the files for which writes may be lost.
  const std::vector<std::string>& unflushed_files() const { return unflushed_files_; }

  // Makes Run return soon, also if it has yet to be called. Does not wait, so a handler may call
  // it.
  void Stop();

  // Returns whether requests come over io_uring (fs/serving/transport.h).
  bool OverIoUring() const;

  // MountOptions::mountpoint, resolved.
  const std::string& mountpoint() const { return mountpoint_; }

  // Returns the files that are open for writing now.
  WritableFiles ListWritableFiles() EXCLUDES(mutex_);

 private:
  FileSystemMount(std::string mountpoint, MountOptions options,
                  std::unique_ptr<FileSystem> file_system, std::unique_ptr<StopWatcher> watcher,
                  const SessionOptions& session, bool io_uring);
  Status MakeSession(fuse_args* arguments);
  Status MountSession(const std::string& where);
  void UseIoUring();
  int Serve();
  // Runs in the watcher's thread, while the others still serve.
  void Shutdown();
  void FlushWritableFiles();
  std::string device() EXCLUDES(mutex_);
  Status Unmount();

  const std::string mountpoint_;
  std::unique_ptr<KernelMount> kernel_mount_;  // null where libfuse mounts
  const MountOptions options_;
  const std::unique_ptr<FileSystem> file_system_;
  const std::unique_ptr<StopWatcher> watcher_;
  const unsigned max_threads_;
  const bool io_uring_;  // requested
  fuse_session* session_ = nullptr;
  Mutex mutex_;
  std::string device_ GUARDED_BY(mutex_);  // "major:minor"; empty until attached
  std::vector<std::string> unflushed_files_;
  std::unique_ptr<ServingThreads> threads_;
  std::unique_ptr<MountWatcher> mount_watcher_;
};

}  // namespace tandem::fs
