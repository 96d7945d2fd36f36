// Reads with pread(2) until the buffer is full. Any thread.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>

#include "meta/base/result.h"

namespace tandem {

// Returns the number of bytes read, which is less than the size of the buffer only at the end of
// the file. `what` becomes the context of an error.
inline Result<size_t> ReadAt(int fd, uint64_t offset, std::span<char> buffer,
                             const char* what = "read") {
  size_t filled = 0;
  while (filled < buffer.size()) {
    const ssize_t count = pread(fd, buffer.data() + filled, buffer.size() - filled,
                                static_cast<off_t>(offset + filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError(what);
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  return filled;
}

}  // namespace tandem
