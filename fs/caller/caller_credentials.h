// The identity of the process that asked, taken on for one backing call that creates something, so
// that the backing filesystem itself decides owner, group, quota and default ACL. While it lives
// the thread has the caller's fsuid, fsgid and umask; everything is put back by the destructor.
// Thread state: make and destroy it in one thread, around the backing call only. How and why:
// fs/LOCKING.md.
#pragma once

#include <sys/types.h>

#include "fs/serving/fuse_api.h"
#include "meta/base/result.h"

namespace tandem::fs {

class CallerCredentials {
 public:
  static Result<CallerCredentials> Assume(const fuse_ctx& caller);

  CallerCredentials(CallerCredentials&& other) noexcept;
  CallerCredentials& operator=(CallerCredentials&&) = delete;
  ~CallerCredentials();

 private:
  CallerCredentials() = default;
  Status SwitchTo(uid_t uid, gid_t gid);

  bool switched_ = false;
};

// While it lives, quotas and the blocks a filesystem keeps for root are to the thread what they are
// to the caller: for a backing call that takes space and creates nothing. (CallerCredentials has
// the same effect.) Of a caller's capabilities we know only that root has them. As far as we are
// allowed to.
class CallerLimits {
 public:
  explicit CallerLimits(const fuse_ctx& caller);
  CallerLimits(const CallerLimits&) = delete;
  CallerLimits& operator=(const CallerLimits&) = delete;
  ~CallerLimits();

 private:
  bool switched_ = false;
};

}  // namespace tandem::fs
