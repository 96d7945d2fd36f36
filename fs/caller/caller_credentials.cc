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

// Sets the umask of this thread. The first call gives the thread a umask of its own instead of the
// process's. It is not restored: every caller that creates a file sets it.
Status SetUmask(mode_t wanted) {
  constexpr mode_t kNone = ~mode_t{0};
  thread_local mode_t current = kNone;
  if (current == wanted) return {};
  if (current == kNone && unshare(CLONE_FS) != 0) return ErrnoError("unshare the umask");
  umask(wanted);
  current = wanted;
  return {};
}

// Makes this thread keep its capabilities when its fsuid changes. The kernel has already checked
// the caller's permissions. Without capabilities our call would fail where only a supplementary
// group, which we do not take on, gave the caller access. Without CAP_SETPCAP that still happens.
void KeepCapabilitiesOnSetfsuid() {
  thread_local bool done = false;
  if (done) return;
  const int bits = prctl(PR_GET_SECUREBITS);
  if (bits >= 0) prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP);
  done = true;
}

// CAP_SYS_RESOURCE lets a thread exceed quotas and use the blocks reserved for root. It is left as
// it is for the next caller, which seldom needs a change.
void SetMayExceedLimits(bool may) {
  enum class State { kUnknown, kMay, kMayNot };
  // A new thread has the capabilities of the one that started it.
  thread_local State state = State::kUnknown;
  const State wanted = may ? State::kMay : State::kMayNot;
  if (state == wanted) return;
  if (SetEffectiveCapability(CAP_SYS_RESOURCE, may)) state = wanted;
}

// Returns whether callers may be other users than this process.
bool ServesEverybody() {
  static const bool root = geteuid() == 0;
  return root;
}

// setfsuid and setfsgid report no errors; with the invalid id -1 they return the current one.
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
  SetMayExceedLimits(caller.uid == 0);
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
  KeepCapabilitiesOnSetfsuid();
  switched_ = true;
  if (!BecomeGroup(gid) || !BecomeUser(uid)) return ErrnoError(EPERM, "act for the caller");
  return {};
}

CallerLimits::CallerLimits(const fuse_ctx& caller) {
  if (!ServesEverybody()) return;
  SetMayExceedLimits(caller.uid == 0);
  if (caller.uid == 0) return;
  KeepCapabilitiesOnSetfsuid();
  setfsuid(caller.uid);  // ext4 checks the fsuid for its reserved blocks
  switched_ = true;
}

CallerLimits::~CallerLimits() {
  if (switched_) setfsuid(0);
}

}  // namespace tandem::fs
