// The mount table as this process sees it (/proc/self/mountinfo, proc(5)). Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::meta {

struct MountedFilesystem {
  int id = 0;
  int parent = 0;      // the mount it stands on
  std::string device;  // the filesystem's, as MAJOR:MINOR
  std::string root;    // which directory of the filesystem is shown
  std::string path;
  std::string type;
};

// In the order of mounting, as far as the kernel keeps it.
Result<std::vector<MountedFilesystem>> ReadMountTable();

// The mount on which the open file or directory is.
Result<int> MountIdOf(int fd);

}  // namespace tandem::meta
