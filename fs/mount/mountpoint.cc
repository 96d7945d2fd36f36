#include "fs/mount/mountpoint.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <climits>
#include <cstdlib>
#include <memory>

#include "meta/base/log.h"
#include "meta/base/mount_table.h"

namespace tandem::fs {
namespace {

// ECONNABORTED, or ECANCELED over io_uring: it died during the request.
bool MeansDead(int error) {
  return error == ENOTCONN || error == ECONNABORTED || error == ECANCELED;
}

// Forces a request: the kernel may still cache attributes of a dead mount.
bool IsDead(const std::string& path) {
  struct statx ignored;
  return statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &ignored) != 0 &&
         MeansDead(errno);
}

bool RunFusermount(const std::string& mountpoint) {
  const char* const arguments[] = {"fusermount3",      "-u",   "-q", "-z", "--",
                                   mountpoint.c_str(), nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, arguments[0], nullptr, nullptr, const_cast<char* const*>(arguments),
                   environ) != 0) {
    return false;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Status Detach(const std::string& mountpoint) {
  if (umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
  const int code = errno;
  if (code == EPERM && RunFusermount(mountpoint)) return {};
  return ErrnoError(code, "detach the dead mount at " + mountpoint);
}

std::string RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real ? std::string(real.get()) : std::string();
}

}  // namespace

Result<std::string> ResolveMountpoint(const std::string& mountpoint) {
  std::string real = RealPath(mountpoint);
  if (!real.empty()) return real;
  const int code = errno;
  // Below a dead mount realpath fails at the last component only.
  std::string trimmed = mountpoint;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.pop_back();
  const size_t slash = trimmed.rfind('/');
  const std::string name = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  if (!MeansDead(code) || name.empty() || name == "." || name == "..") {
    return ErrnoError(code, "mountpoint " + mountpoint);
  }
  const std::string parent = slash == std::string::npos ? "." : trimmed.substr(0, slash + 1);
  real = RealPath(parent);
  if (real.empty()) return ErrnoError("mountpoint " + mountpoint);
  if (!real.ends_with('/')) real += '/';
  return real + name;
}

Result<Occupant> OccupantOf(const std::string& mountpoint) {
  ASSIGN_OR_RETURN(const auto stack, MountsAt(mountpoint));
  if (stack.empty() || stack.back().type != kMountType) return Occupant::kNone;
  return IsDead(mountpoint) ? Occupant::kDead : Occupant::kLive;
}

tl::unexpected<Error> AlreadyMounted(const std::string& mountpoint, const std::string& which) {
  return MakeError(ErrorKind::kUsage, "a tandemfs is already mounted on " + mountpoint +
                                          (which.empty() ? "" : " (" + which + ")") +
                                          ": unmount it first, or choose another mountpoint");
}

Status RemoveDeadMounts(const std::string& mountpoint) {
  while (true) {
    ASSIGN_OR_RETURN(const Occupant occupant, OccupantOf(mountpoint));
    if (occupant != Occupant::kDead) return {};
    RETURN_IF_ERROR(Detach(mountpoint));
    LogWarning("detached the dead mount at {}, left by a tandemfs that was killed", mountpoint);
  }
}

}  // namespace tandem::fs
