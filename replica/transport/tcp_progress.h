// Watches a TCP connection that a library made in this process: how many bytes its peer has
// acknowledged and sent. Any thread may call it.
//
// The descriptor belongs to the library. It is found by its ports, and its ports are checked again
// before each use. It is only queried, so no harm is done if it is closed meanwhile and its number
// reused.
#pragma once

#include <cstdint>
#include <optional>

#include "meta/base/mutex.h"

namespace tandem::replica {

class TcpProgress {
 public:
  // Watches the connection between these ports (host byte order) from now on, or none if they are
  // 0.
  void Follow(uint16_t local_port, uint16_t remote_port) EXCLUDES(mutex_);
  // Returns the bytes in both directions so far, or nullopt if they cannot be known.
  std::optional<uint64_t> Bytes() EXCLUDES(mutex_);

 private:
  bool IsOurConnection(int fd) const REQUIRES(mutex_);
  // Returns the descriptor, or -1 if there is none.
  int Find() const REQUIRES(mutex_);

  Mutex mutex_;
  uint16_t local_port_ GUARDED_BY(mutex_) = 0;
  uint16_t remote_port_ GUARDED_BY(mutex_) = 0;
  int fd_ GUARDED_BY(mutex_) = -1;  // where it was found last
};

}  // namespace tandem::replica
