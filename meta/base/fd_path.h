// The path /proc/self/fd/N, built without allocating. It resolves to the object that descriptor N
// is open on, of any kind. Used for the system calls that do not accept an O_PATH descriptor. Valid
// while the descriptor is open.
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
