// Describes a directory that is imported in a new catalog. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "meta/base/result.h"
#include "replica/store/import.h"

namespace tandem::replica {

// Makes replica.db in `volume_path` and puts everything in the directory `root_fd` into it; returns
// the number of objects. `hold_fd` is the new volume's stage/hold. Returns kUsage if something in
// the directory cannot be adopted: a mount, or a file that has names outside as well.
Result<uint64_t> DescribeCopy(int root_fd, int hold_fd, const std::string& volume_path,
                              const ImportOptions& options);

}  // namespace tandem::replica
