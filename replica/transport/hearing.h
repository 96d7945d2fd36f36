// When something was last heard over a connection. Any thread.
//
// Over TCP it also counts as heard that the peer's host has taken in kLeastProgressBytes of what
// was sent, so that one large message over a slow link is no silence.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "replica/transport/tcp_progress.h"

namespace tandem::replica {

class Hearing {
 public:
  // From now on it is about the connection between these ports (host byte order; 0: it is not over
  // TCP), which was just heard.
  void Begin(uint16_t local_port, uint16_t remote_port);
  void End() { progress_.Follow(0, 0); }
  // Something has come over the connection.
  void Heard() { heard_ms_ = NowMs(); }
  // Returns the time since then.
  std::chrono::milliseconds Unheard();

 private:
  static int64_t NowMs();

  TcpProgress progress_;
  std::atomic<int64_t> heard_ms_{0};
  std::atomic<uint64_t> counted_{0};  // progress_.Bytes() when that last counted as heard
};

}  // namespace tandem::replica
