// The privileges of a file that a change of its content clears: its setuid and setgid bits, unless
// the writer has CAP_FSETID, and its capabilities (security.capability) in any case. A setgid bit
// without group execute permission is cleared only if the writer is not in the file's group. The
// backing filesystem clears them, by the identity of the calling thread.
//
// Any thread.
#pragma once

#include <sys/types.h>

#include "fs/serving/request.h"
#include "meta/base/result.h"

namespace tandem::fs {

inline constexpr char kCapabilityXattr[] = "security.capability";

// Whether the kernel says in a request that setuid and setgid bits are to be cleared
// (FUSE_HANDLE_KILLPRIV_V2). Otherwise it clears most of them itself, before the request.
#if defined(TANDEM_HAVE_FUSE_KILL_SUIDGID)
inline constexpr bool kHasKillprivV2 = true;
#else
inline constexpr bool kHasKillprivV2 = false;
#endif

// Returns whether the file has privileges that a write would clear. `fd` may be O_PATH.
Result<bool> HasPrivileges(int fd);

// Adds a capability to the calling thread's effective set, if it is in the permitted set, or
// removes it. Returns whether it was effective before.
Result<bool> SetEffectiveCapability(unsigned capability, bool on);

// Returns whether the file `fd` is setgid and a chown or ACL set by the caller clears that bit: the
// caller is not in the file's group and has no CAP_FSETID over the file.
Result<bool> ClearsSetgid(Request& request, int fd);

// While it lives, the calling thread has no CAP_FSETID, and is in the group of the file `fd` if and
// only if the caller may keep its setgid bit. For requests of callers without CAP_FSETID.
class WithoutFsetid {
 public:
  // Changes nothing if `needed` is false.
  static Result<WithoutFsetid> DropIf(bool needed, Request& request, int fd);
  WithoutFsetid(WithoutFsetid&& other) noexcept;
  WithoutFsetid& operator=(WithoutFsetid&&) = delete;
  ~WithoutFsetid();

 private:
  WithoutFsetid() = default;
  bool dropped_ = false;
  bool changed_group_ = false;
};

}  // namespace tandem::fs
