// The options that -o accepts beside libfuse's own (fsname, ro, dev, suid, ...):
//   writeback        the kernel caches writes
//   noatime          reads through the mount update no access times, beneath it either
//   max_threads=N    threads that serve requests; blocking requests may use 8 * N more
//   max_read=N       bytes of one read request at most
//   io_uring=auto|on|off   whether requests come over io_uring (io_uring.h)
// Options for mount(8) and the boot (defaults, noauto, nofail, _netdev, user, x-..., the rest of
// the atime family) are accepted and ignored. allow_other is the default for root.
#pragma once

#include <string>
#include <utility>

#include "fs/mount/io_uring.h"
#include "fs/mount/tuning.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/result.h"

namespace tandem::fs {

// Owns an argument vector of libfuse.
class FuseArguments {
 public:
  FuseArguments() = default;
  FuseArguments(FuseArguments&& other) noexcept
      : arguments_(std::exchange(other.arguments_, fuse_args FUSE_ARGS_INIT(0, nullptr))) {}
  FuseArguments& operator=(FuseArguments&&) = delete;
  ~FuseArguments() { fuse_opt_free_args(&arguments_); }
  fuse_args* get() { return &arguments_; }

 private:
  fuse_args arguments_ = FUSE_ARGS_INIT(0, nullptr);
};

struct SessionOptions {
  bool writeback = false;
  bool noatime = false;
  unsigned max_threads = kDefaultThreads;
  unsigned max_read = 0;  // 0: no limit but the kernel's
  IoUring io_uring = IoUring::kAuto;
  // For fuse_session_new.
  FuseArguments arguments;

  // Fails with kUsage if `comma_list` cannot be parsed.
  static Result<SessionOptions> Parse(const std::string& comma_list, const std::string& fs_name);
};

}  // namespace tandem::fs
