#include "fs/caller/caller_credentials.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "fs/caller/privileges.h"

namespace tandem::fs {
namespace {

// The umask of this thread, which has one of its own from the first time on (by default it is the
// process's). Whoever makes a file here asks for it, so nobody puts it back.
Status SetUmask(mode_t wanted) {
  constexpr mode_t kNone = ~mode_t{0};
  thread_local mode_t current = kNone;
  if (current == wanted) return {};
  if (current == kNone && unshare(CLONE_FS) != 0) return ErrnoError("unshare the umask");
  umask(wanted);
  current = wanted;
  return {};
}

// Once a thread: capabilities that stay when the fsuid changes. The kernel has already checked the
// caller's permissions; ours must not fail where only a supplementary group of the caller, which we
// do not take on, let it in. Where this is refused (no CAP_SETPCAP), just those cases fail.
void KeepCapabilities() {
  thread_local bool done = false;
  if (done) return;
  const int bits = prctl(PR_GET_SECUREBITS);
  if (bits >= 0) prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP);
  done = true;
}

// With CAP_SYS_RESOURCE a thread may exceed quotas and use the blocks kept for root. It stays as it
// is until the next caller wants it otherwise, which is seldom.
void LetExceedLimits(bool may) {
  enum class State { kUnknown, kMay, kMayNot };
  // A new thread has the capabilities of the one that started it.
  thread_local State state = State::kUnknown;
  const State wanted = may ? State::kMay : State::kMayNot;
  if (state == wanted) return;
  if (SetEffectiveCapability(CAP_SYS_RESOURCE, may)) state = wanted;
}

// Whether callers may be others than ourselves.
bool ServesEverybody() {
  static const bool root = geteuid() == 0;
  return root;
}

// These two report no errors; asking for the impossible id -1 returns the current one.
bool BecomeUser(uid_t uid) {
  setfsuid(uid);
  return static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1))) == uid;
}
bool BecomeGroup(gid_t gid) {
  setfsgid(gid);
  return static_cast<gid_t>(setfsgid(static_cast<gid_t>(-1))) == gid;
}

}  // namespace

Result<CallerCredentials> CallerCredentials::Assume(const fuse_ctx& caller) {
  RETURN_IF_ERROR(SetUmask(caller.umask));
  CallerCredentials credentials;
  if (!ServesEverybody()) return credentials;
  LetExceedLimits(caller.uid == 0);
  if (caller.uid != 0 || caller.gid != getegid()) {
    RETURN_IF_ERROR(credentials.SwitchTo(caller.uid, caller.gid));
  }
  return credentials;
}

CallerCredentials::CallerCredentials(CallerCredentials&& other) noexcept
    : switched_(std::exchange(other.switched_, false)) {}

CallerCredentials::~CallerCredentials() {
  if (!switched_) return;
  setfsuid(geteuid());
  setfsgid(getegid());
}

Status CallerCredentials::SwitchTo(uid_t uid, gid_t gid) {
  KeepCapabilities();
  switched_ = true;
  if (!BecomeGroup(gid) || !BecomeUser(uid)) return ErrnoError(EPERM, "act for the caller");
  return {};
}

CallerLimits::CallerLimits(const fuse_ctx& caller) {
  if (!ServesEverybody()) return;
  LetExceedLimits(caller.uid == 0);
  if (caller.uid == 0) return;
  KeepCapabilities();
  setfsuid(caller.uid);  // ext4 looks at the user
  switched_ = true;
}

CallerLimits::~CallerLimits() {
  if (switched_) setfsuid(0);
}

}  // namespace tandem::fs
