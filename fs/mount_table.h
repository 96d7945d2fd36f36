// What is mounted below a volume. Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "meta/mount_table.h"

namespace tandem::fs {

using meta::MountedFilesystem;
using meta::ReadMountTable;

// What is mounted below the directory `source_fd`, called `source`, each by its path and once: it
// passes through the volume's mount and is not replicated. What is mounted over the directory
// itself, and what stands on that, is not below it.
Result<std::vector<std::string>> MountsBelow(int source_fd, const std::string& source);

}  // namespace tandem::fs
