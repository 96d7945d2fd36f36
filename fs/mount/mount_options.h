// What -o accepts. Beyond libfuse's own options (fsname, ro, dev, suid, io_uring, ...):
//   writeback        the kernel collects writes in its cache
//   noatime          no read that comes through the mount moves an access time, beneath it either
//   max_threads=N    threads that serve requests; eight times as many come on top for those that
//                    wait for the disk
//   max_read=N       bytes of one read request at most
// Options that concern only mount(8) and the boot (defaults, noauto, nofail, _netdev, user, x-...,
// the rest of the atime family) are accepted and dropped. allow_other is the default for root.
#pragma once

#include <string>
#include <utility>

#include "fs/mount/tuning.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/result.h"

namespace tandem::fs {

// Owns the argument vector libfuse works on.
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
  unsigned max_read = 0;  // 0 for what the kernel sends
  // Requests over io_uring: where the kernel offers it, unless -o no_io_uring says otherwise.
  bool io_uring = false;
  // For fuse_session_new.
  FuseArguments arguments;

  // ErrorKind::kUsage when `comma_list` makes no sense.
  static Result<SessionOptions> Parse(const std::string& comma_list, const std::string& fs_name);
};

}  // namespace tandem::fs
