// The connection over which a request came, and who is at its other end. Any thread may use it; the
// last ConnectionRef frees it.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "replica/transport/peer_identity.h"

namespace tandem::replica {

class Connection {
 public:
  Connection() = default;
  explicit Connection(PeerIdentity peer) : peer_(std::move(peer)) {}

  const PeerIdentity& peer() const { return peer_; }
  // Returns false once the peer has closed the connection, which the end of the peer's process also
  // does. If it returns true, the peer's host may still be gone: that closes nothing.
  bool open() const { return open_; }
  void NoteClosed() { open_ = false; }

 private:
  const PeerIdentity peer_ = {};
  std::atomic<bool> open_{true};
};
using ConnectionRef = std::shared_ptr<const Connection>;

}  // namespace tandem::replica
