// The mount table as this process sees it (/proc/self/mountinfo, proc(5)). Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem {

// The type our mounts have in the mount table.
inline constexpr char kMountType[] = "fuse.tandemfs";

struct MountedFilesystem {
  int id = 0;
  int parent = 0;      // the mount it stands on
  std::string device;  // "major:minor"
  std::string root;    // which directory of the filesystem is shown
  std::string path;
  std::string type;
  std::string source;   // what the filesystem says it shows
  std::string options;  // the filesystem's own, separated by commas
};

// In no order that means anything: a mount placed beneath another may be listed after it.
Result<std::vector<MountedFilesystem>> ReadMountTable();

// The mounts whose root is exactly `path`, the lowest first. Path lookup ends at the last.
Result<std::vector<MountedFilesystem>> MountsAt(const std::string& path);

// The name of the directory above an absolute path; of "/" itself. Path lookup there does not enter
// what is mounted at `path`.
std::string DirectoryAbove(const std::string& path);

// The id that the mount of `fd` has in the table. Sends no request to the filesystem.
Result<int> MountIdOf(int fd);

// What is mounted below the directory called `source`, which is on the mount `source_mount`: each
// by its path and once. It passes through the volume's mount and is not replicated. What is mounted
// over the directory itself, and what stands on that, is not below it.
Result<std::vector<std::string>> MountsBelow(int source_mount, const std::string& source);

}  // namespace tandem
