#include "meta/base/ancestry.h"

#include <fcntl.h>

namespace tandem {
namespace {

bool AreSame(const struct statx& a, const struct statx& b) {
  return a.stx_ino == b.stx_ino && a.stx_dev_major == b.stx_dev_major &&
         a.stx_dev_minor == b.stx_dev_minor;
}

}  // namespace

Result<struct statx> StatIdentity(int directory_fd, const char* path) {
  const int flags = AT_STATX_DONT_SYNC | (*path == '\0' ? AT_EMPTY_PATH : 0);
  struct statx found;
  if (statx(directory_fd, path, flags, STATX_INO, &found) != 0) return ErrnoError("stat");
  return found;
}

Result<bool> IsAtOrBelow(UniqueFd directory, const struct statx& wanted) {
  struct statx below = {};
  while (true) {
    ASSIGN_OR_RETURN(const struct statx here, StatIdentity(directory.get(), ""));
    if (AreSame(here, wanted)) return true;
    if (AreSame(here, below)) return false;
    below = here;
    directory.Reset(openat(directory.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return ErrnoError("open ..");
  }
}

}  // namespace tandem
