// Gives the calling thread the identity of a request's caller, around one backing call that creates
// something, so that the backing filesystem decides owner, group, quota and default ACL. While it
// lives, the thread has the caller's fsuid, fsgid and umask. The destructor restores fsuid and
// fsgid. The state belongs to the thread: construct and destroy it in one thread, around the
// backing call only. Reasons: fs/LOCKING.md.
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

// While it lives, quotas and the blocks reserved for root bind the thread as they bind the caller.
// For a backing call that takes space and creates nothing; CallerCredentials has the same effect.
// Assumes that root, and only root, has CAP_SYS_RESOURCE. Does what this process is allowed to.
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
