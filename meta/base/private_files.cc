#include "meta/base/private_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "meta/base/fd_path.h"
#include "meta/base/log.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem {

void EnsureMode(const std::string& path, mode_t mode) {
  constexpr mode_t kPermissions = 0777;
  // What is looked at is what gets the mode, whatever the path leads to by then.
  const UniqueFd fd(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat found;
  if (!fd.valid() || fstat(fd.get(), &found) != 0 || S_ISLNK(found.st_mode)) return;
  const mode_t before = found.st_mode & kPermissions;
  if (before == mode) return;
  const mode_t special = found.st_mode & 07000;
  if (chmod(FdPath(fd.get()).c_str(), special | mode) != 0) {
    LogWarning("{} (mode stays {:04o}: other users may be able to read it)",
               ErrnoError("chmod " + path).value().ToString(), before);
    return;
  }
  LogInfo("{}: mode {:04o} is now {:04o}", path, before, mode);
}

}  // namespace tandem
