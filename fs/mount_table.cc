#include "fs/mount_table.h"

#include <set>

namespace tandem::fs {

Result<std::vector<std::string>> MountsBelow(int source_fd, const std::string& source) {
  ASSIGN_OR_RETURN(const int source_mount, meta::MountIdOf(source_fd));
  ASSIGN_OR_RETURN(const auto mounts, ReadMountTable());
  const std::string inside = source.ends_with('/') ? source : source + "/";
  std::set<int> below;
  std::set<std::string> paths;
  // A mount may stand before its parent in the table (after mount --move).
  for (size_t known = below.size() + 1; known != below.size();) {
    known = below.size();
    for (const MountedFilesystem& mount : mounts) {
      const bool on_source = mount.parent == source_mount && mount.path.starts_with(inside);
      if (!on_source && !below.contains(mount.parent)) continue;
      below.insert(mount.id);
      paths.insert(mount.path);
    }
  }
  return std::vector<std::string>(paths.begin(), paths.end());
}

}  // namespace tandem::fs
