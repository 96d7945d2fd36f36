#include "replica/apply/tree_mounts.h"

#include <fcntl.h>
#include <poll.h>

#include <filesystem>

#include "meta/base/fd_path.h"
#include "meta/base/mount_table.h"
#include "meta/base/printable.h"
#include "meta/source/attributes.h"

namespace tandem::replica {

TreeMounts::TreeMounts(int volume_fd)
    : volume_fd_(volume_fd), table_(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {}

std::string TreeMounts::Look() {
  MutexLock lock(mutex_);
  // poll reports each change once. If the table cannot be watched, it is read each time.
  pollfd changes{table_.get(), POLLPRI, 0};
  const bool changed = !table_.valid() || poll(&changes, 1, 0) != 0;
  if (!known_ || changed) found_ = Read();
  known_ = true;
  return found_;
}

std::string TreeMounts::Read() const {
  std::error_code error;
  const auto volume = std::filesystem::read_symlink(FdPath(volume_fd_).c_str(), error);
  const auto mounts = ReadMountTable();
  if (error || !mounts) return {};
  const std::string tree = volume.string() + "/tree";
  for (const MountedFilesystem& mount : *mounts) {
    if (mount.path != tree && !mount.path.starts_with(tree + "/")) continue;
    return mount.type + " is mounted on " + Printable(mount.path) +
           (mount.path == tree ? "" : ", inside the replica's tree") + ": unmount it";
  }
  return {};
}

}  // namespace tandem::replica
