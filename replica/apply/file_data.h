// Reading and writing ranges of files, whole or not at all. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem::replica {

Status WriteFully(int fd, std::string_view bytes, uint64_t offset);
// Up to `length` bytes: fewer only at the end of the file.
Result<std::string> ReadUpTo(int fd, uint64_t offset, uint64_t length);
// Blocks are shared where the filesystem can do that; holes stay holes. What lies behind the end of
// `from` is not there.
Status CopyRange(int from, int to, uint64_t offset, uint64_t length);
// The range reads as zeros and takes no space (where the filesystem can do that); the size stays.
Status PunchHole(int fd, uint64_t offset, uint64_t length);

}  // namespace tandem::replica
