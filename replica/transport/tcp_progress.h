// Whether a TCP connection that a library made in this process stands and gets anywhere: bytes that
// its peer has acknowledged, and bytes that came from it. Any thread.
//
// The descriptor is the library's. It is looked for by its ports, and looked at again each time
// before it is believed; it is only read from, so a descriptor that is closed meanwhile and stands
// for something else does no harm.
#pragma once

#include <cstdint>
#include <optional>

#include "meta/base/mutex.h"

namespace tandem::replica {

class TcpProgress {
 public:
  // From now on it is about the connection between these ports, in host byte order; 0: none.
  void Follow(uint16_t local_port, uint16_t remote_port) EXCLUDES(mutex_);
  // Bytes in both directions so far; nothing: that cannot be known.
  std::optional<uint64_t> Bytes() EXCLUDES(mutex_);
  // The connection has ended, as Bytes() has found.
  bool ended() EXCLUDES(mutex_);

 private:
  bool IsIt(int fd) const REQUIRES(mutex_);
  int Find() const REQUIRES(mutex_);

  Mutex mutex_;
  uint16_t local_port_ GUARDED_BY(mutex_) = 0;
  uint16_t remote_port_ GUARDED_BY(mutex_) = 0;
  int fd_ GUARDED_BY(mutex_) = -1;        // where it was last
  bool seen_ GUARDED_BY(mutex_) = false;  // once
  bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::replica
