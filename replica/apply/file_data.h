// Reads and writes ranges of files, without short reads and writes. Any thread may call these
// functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem::replica {

Status WriteFully(int fd, std::string_view bytes, uint64_t offset);
// The same, for content that nobody is going to read soon: past the page cache, as far as the
// filesystem and the alignment allow. The disk has most of it when this returns, and no writer of
// another part of the file was kept waiting for memory. No other thread may use the descriptor
// meanwhile.
Status WritePastCache(int fd, std::string_view bytes, uint64_t offset);
// Returns `length` bytes, or fewer if the file ends before that.
Result<std::string> ReadUpTo(int fd, uint64_t offset, uint64_t length);
// Copies a range to the same offset of `to`. Shares blocks if the filesystem can, and holes stay
// holes. Bytes beyond the end of `from` are not copied.
Status CopyRange(int from, int to, uint64_t offset, uint64_t length);
// Makes the range read as zeros, without taking space if the filesystem can do that. The size
// stays.
Status PunchHole(int fd, uint64_t offset, uint64_t length);

}  // namespace tandem::replica
