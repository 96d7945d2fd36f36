// pread(2) until the buffer is full. Any thread.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>

#include "meta/base/result.h"

namespace tandem {

// Returns how much there was: less than the buffer only at the end of the file. `what` says in an
// error what was tried.
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
