// A mounted tandemfs: the session with the kernel, the threads that serve it, and its clean end.
//
//   StopSignals signals;                        // in main, before any thread is started
//   RETURN_IF_ERROR(RemoveDeadMount(mountpoint));  // before SOURCE is opened: they may be one
//   ASSIGN_OR_RETURN(auto mount, FileSystemMount::Create({...}));
//   ... tell the waiting parent that the mount is usable ...
//   Status status = mount->Run();               // until unmounted, signalled or stopped
//
// Create and Run belong to one thread; Stop may be called from any. The capture given must outlive
// the FileSystemMount; no operation is inside it any more once Run has returned.
#pragma once

#include <memory>
#include <string>

#include "fs/dead_mount.h"
#include "fs/stop_signals.h"
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
  // mount table: it is never resolved again.
  int source_fd = -1;
  std::string source;
  std::string mountpoint;
  // As after -o: libfuse's own, and those of fs/mount_options.h.
  std::string fuse_options;
  // The first column of the mount table.
  std::string fs_name;
  // Null: pass through only.
  meta::Capture* capture = nullptr;
};

class FileSystemMount {
 public:
  // When it returns, the mount stands in the mount table: calls on it wait for Run. On error
  // nothing is left mounted. ErrorKind::kUsage: options or directories that make no sense.
  static Result<std::unique_ptr<FileSystemMount>> Create(const MountOptions& options);

  FileSystemMount(const FileSystemMount&) = delete;
  FileSystemMount& operator=(const FileSystemMount&) = delete;
  // Unmounts if that has not happened.
  ~FileSystemMount();

  // Serves until the filesystem is unmounted, until SIGTERM, SIGINT or SIGHUP (where a StopSignals
  // blocks them), or until Stop. Operations that were running have been answered when it returns.
  // Call once.
  Status Run();

  // Makes Run return soon, now or as soon as it is called. Does not wait; a handler may call it.
  void Stop();

  // Whether requests come over io_uring: the kernel must allow it (module parameter
  // fuse.enable_uring), and libfuse be 3.18.
  bool OverIoUring() const;

  // What MountOptions::mountpoint is really called.
  const std::string& mountpoint() const { return mountpoint_; }

 private:
  FileSystemMount(std::string mountpoint, std::unique_ptr<FileSystem> file_system,
                  std::unique_ptr<StopWatcher> watcher, const SessionOptions& options);
  Status MountSession(fuse_args* arguments);
  int Serve();
  // In the watcher's thread, while the others still serve.
  void LeaveLoop();

  const std::string mountpoint_;
  const std::unique_ptr<FileSystem> file_system_;
  const std::unique_ptr<StopWatcher> watcher_;
  const unsigned max_threads_;
  const bool io_uring_;  // asked for
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  std::unique_ptr<ServingThreads> threads_;
  std::unique_ptr<MountWatcher> mount_watcher_;
};

}  // namespace tandem::fs
