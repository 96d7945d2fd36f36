// Reads the mount table of this process (/proc/self/mountinfo, see proc(5)). Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem {

// The filesystem type of our mounts in the mount table.
inline constexpr char kMountType[] = "fuse.tandemfs";

struct MountedFilesystem {
  int id = 0;
  int parent = 0;      // the id of the parent mount
  std::string device;  // "major:minor"
  std::string root;    // the directory of the filesystem that forms the root of this mount
  std::string path;
  std::string type;
  std::string source;   // the mount source, as the filesystem reports it
  std::string options;  // options of the filesystem (superblock), separated by commas
};

// Returns all mounts in the order of the table, which means nothing: a mount placed beneath another
// may be listed after it.
Result<std::vector<MountedFilesystem>> ReadMountTable();

// Returns the mounts stacked at exactly `path`, the lowest first. Path lookup reaches the last one.
Result<std::vector<MountedFilesystem>> MountsAt(const std::string& path);

// Returns the parent directory of an absolute path; "/" for "/". Path lookup of the result does not
// enter a filesystem that is mounted at `path`.
std::string DirectoryAbove(const std::string& path);

// Returns the id that the mount of `fd` has in the table. Sends no request to the filesystem.
Result<int> MountIdOf(int fd);

// Returns the paths of all mounts below the directory `source`, which is on the mount
// `source_mount`. Each path is returned once. Operations on these mounts pass through the volume's
// mount and are not replicated. A mount over `source` itself, and the mounts on that one, are not
// below it.
Result<std::vector<std::string>> MountsBelow(int source_mount, const std::string& source);

}  // namespace tandem
