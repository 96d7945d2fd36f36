// The mount table as this process sees it (/proc/self/mountinfo, proc(5)). Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::fs {

struct MountedFilesystem {
  int id = 0;
  int parent = 0;  // the mount it stands on
  std::string path;
  std::string type;
};

// In the order of mounting, as far as the kernel keeps it.
Result<std::vector<MountedFilesystem>> ReadMountTable();

// What is mounted below the directory `source_fd`, called `source`, each by its path and once: it
// passes through the volume's mount and is not replicated. What is mounted over the directory
// itself, and what stands on that, is not below it.
Result<std::vector<std::string>> MountsBelow(int source_fd, const std::string& source);

}  // namespace tandem::fs
