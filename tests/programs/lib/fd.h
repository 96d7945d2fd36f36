// An owned file descriptor. The test programs keep their own, so that they
// share nothing with the code they test.
#pragma once

#include <unistd.h>

#include <utility>

namespace tandem::programs {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Close(); }

  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

  // What close(2) returned, because a filesystem may report a failed write
  // only there. 0 if nothing was open.
  int Close() {
    const int fd = Release();
    return fd < 0 ? 0 : ::close(fd);
  }

 private:
  int fd_ = -1;
};

}  // namespace tandem::programs
