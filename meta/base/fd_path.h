// /proc/self/fd/N without touching the heap: leads to the object itself whatever N is open on, for
// the calls that take no O_PATH descriptor. Valid while the descriptor is open.
#pragma once

#include <charconv>
#include <cstring>

namespace tandem {

class FdPath {
 public:
  explicit FdPath(int fd) {
    constexpr char kPrefix[] = "/proc/self/fd/";
    std::memcpy(text_, kPrefix, sizeof kPrefix - 1);
    *std::to_chars(text_ + sizeof kPrefix - 1, text_ + sizeof text_ - 1, fd).ptr = '\0';
  }
  const char* c_str() const { return text_; }

 private:
  char text_[32];
};

}  // namespace tandem
