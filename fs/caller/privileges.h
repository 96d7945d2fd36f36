// What a change of content takes away from a file: its setuid and setgid bits, unless whoever
// changes it has CAP_FSETID, and its capabilities (the attribute security.capability) in any case.
// A setgid bit without the group's right to execute goes only if the caller is not in the group.
// The backing filesystem does so by itself, for whom it takes us to be.
//
// Any thread.
#pragma once

#include <sys/types.h>

#include "fs/serving/request.h"
#include "meta/base/result.h"

namespace tandem::fs {

inline constexpr char kCapabilityXattr[] = "security.capability";

// Whether the kernel tells with a request that setuid and setgid bits are to go
// (FUSE_HANDLE_KILLPRIV_V2). Otherwise it clears most itself, before.
#if defined(TANDEM_HAVE_FUSE_KILL_SUIDGID)
inline constexpr bool kKernelTellsWhenToClear = true;
#else
inline constexpr bool kKernelTellsWhenToClear = false;
#endif

// Whether a write would find something to take away. `fd` may be O_PATH.
Result<bool> HasPrivileges(int fd);

// Adds a capability to the calling thread's effective set, if it is permitted, or takes it away.
// Returns whether it was there before.
Result<bool> SetEffectiveCapability(unsigned capability, bool on);

// Whether the file `fd` is setgid and the caller one whose chown, or ACL, takes the bit away: not
// in the file's group, and without CAP_FSETID over the file.
Result<bool> TakesSetgid(Request& request, int fd);

// While it lives, the calling thread is without CAP_FSETID, and in the group of the file `fd` if
// and only if the caller may keep its setgid bit. For callers without CAP_FSETID.
class WithoutSetidCapability {
 public:
  // Only if `needed`: otherwise it changes nothing.
  static Result<WithoutSetidCapability> DropIf(bool needed, Request& request, int fd);
  WithoutSetidCapability(WithoutSetidCapability&& other) noexcept;
  WithoutSetidCapability& operator=(WithoutSetidCapability&&) = delete;
  ~WithoutSetidCapability();

 private:
  WithoutSetidCapability() = default;
  bool dropped_ = false;
  bool changed_group_ = false;
};

}  // namespace tandem::fs
