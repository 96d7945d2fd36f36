// What a change of content takes away from a file: its setuid and setgid bits, unless whoever
// changes it has CAP_FSETID, and its capabilities (the attribute security.capability) in any case.
// The backing filesystem does so by itself, for whom it takes us to be: hence all that is to be
// done is to be without CAP_FSETID where the caller is.
//
// Any thread.
#pragma once

#include <sys/types.h>

#include "meta/base/result.h"

namespace tandem::fs {

inline constexpr char kCapabilityXattr[] = "security.capability";

// Whether a write would find something to take away. `fd` may be O_PATH.
Result<bool> HasPrivileges(int fd);

// Adds a capability to the calling thread's effective set, if it is permitted, or takes it away.
// Returns whether it was there before.
Result<bool> SetEffectiveCapability(unsigned capability, bool on);

// Whether the thread `tid` has CAP_FSETID; if that cannot be told, whether its user is root.
bool HasSetidCapability(pid_t tid, uid_t uid);

// The calling thread is without CAP_FSETID while this lives.
class WithoutSetidCapability {
 public:
  static Result<WithoutSetidCapability> Drop();
  WithoutSetidCapability(WithoutSetidCapability&& other) noexcept;
  WithoutSetidCapability& operator=(WithoutSetidCapability&&) = delete;
  ~WithoutSetidCapability();

 private:
  WithoutSetidCapability() = default;
  bool dropped_ = false;
};

}  // namespace tandem::fs
