#include "tools/least_privilege.h"

#include <cap-ng.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <iterator>
#include <vector>

namespace tandem::tools {
namespace {

constexpr auto kEverySet =
    static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET);

// CAP_SYS_RESOURCE, _IPC_LOCK: limits and the memory of io_uring. CAP_SYS_PTRACE: the namespaces of
// callers. CAP_SETPCAP: keeping capabilities while a thread acts for another user.
constexpr unsigned kForMounts[] = {
    CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,          CAP_FSETID,
    CAP_SETGID,  CAP_SETUID,       CAP_SETPCAP,         CAP_LINUX_IMMUTABLE, CAP_MKNOD,
    CAP_SETFCAP, CAP_SYS_ADMIN,    CAP_SYS_PTRACE,      CAP_SYS_RESOURCE,    CAP_IPC_LOCK,
};

Status ForbidNewPrivileges() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) return {};
  return ErrnoError("set no_new_privs");
}

// Leaves those of `wanted` that the process has.
Status KeepOnly(const std::vector<unsigned>& wanted) {
  if (capng_get_caps_process() != 0) {
    return MakeError(ErrorKind::kSystem, "read the process's capabilities", EIO);
  }
  const bool may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
  std::vector<unsigned> kept;
  for (const unsigned capability : wanted) {
    if (capng_have_capability(CAPNG_PERMITTED, capability) != 0) kept.push_back(capability);
  }
  capng_clear(CAPNG_SELECT_ALL);
  for (const unsigned capability : kept) {
    (void)capng_update(CAPNG_ADD, kEverySet, capability);
  }
  if (capng_apply(may_bound ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS) != 0) {
    return ErrnoError("reduce the process's capabilities");
  }
  return {};
}

}  // namespace

Status ReduceToReplica(const ReplicaNeeds& needs) {
  if (geteuid() == 0) {
    std::vector<unsigned> wanted = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,
                                    CAP_FSETID, CAP_MKNOD,        CAP_SETFCAP};
    if (needs.trusted_attributes) wanted.push_back(CAP_SYS_ADMIN);
    if (needs.low_ports) wanted.push_back(CAP_NET_BIND_SERVICE);
    RETURN_IF_ERROR(KeepOnly(wanted));
  }
  return ForbidNewPrivileges();
}

Status ReduceToMount() {
  if (geteuid() != 0) return {};
  RETURN_IF_ERROR(KeepOnly({std::begin(kForMounts), std::end(kForMounts)}));
  return ForbidNewPrivileges();
}

Status BecomeUser(const std::string& name) {
  const passwd* const user = getpwnam(name.c_str());
  if (user == nullptr) {
    return MakeError(ErrorKind::kUsage, "run as user " + name + " (there is no such user)", ENOENT);
  }
  const uid_t uid = user->pw_uid;
  const gid_t gid = user->pw_gid;
  if (uid == geteuid()) return {};
  const bool became = initgroups(name.c_str(), gid) == 0 && setresgid(gid, gid, gid) == 0 &&
                      setresuid(uid, uid, uid) == 0;
  return became ? Status() : ErrnoError("run as user " + name + " (only root can)");
}

}  // namespace tandem::tools
