// A REQ socket of nng's with its dialer, which makes one connection after the other.
#pragma once

#include <nng/nng.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "meta/base/result.h"
#include "replica/nng_handles.h"

namespace tandem::replica {

// Any thread. What nng's threads use outlives the socket, should nng not close it.
class DialedSocket {
 public:
  // Counts its connections in `connections`.
  explicit DialedSocket(std::shared_ptr<std::atomic<uint64_t>> connections);

  // Does not wait for the peer. Fails on a URL that makes no sense.
  Status Start(const std::string& url);

  nng_socket handle() const { return socket_.handle; }
  bool connected() const { return link_->pipes > 0; }

  // Something came from the peer.
  void Heard() { link_->Heard(); }
  // A call timed out. A connection that has been silent for seconds is taken for dead (a pulled
  // cable, a firewall that drops; TCP itself would need a quarter of an hour to notice): it is
  // closed, and with it the socket is given up.
  void TimedOut();
  // No use for further calls: nng 1.5 may wait for ever with clearing away a connection, this one's
  // or another's (CloseSocket), and does not dial again before it has. A socket that never had a
  // connection goes on dialing, and is not given up.
  bool given_up() const { return given_up_; }

 private:
  struct Link {
    explicit Link(std::shared_ptr<std::atomic<uint64_t>> total) : connections(std::move(total)) {}
    void Heard();

    const std::shared_ptr<std::atomic<uint64_t>> connections;
    std::atomic<int> pipes{0};
    std::atomic<uint32_t> last_pipe{0};  // 0: never connected
    std::atomic<int64_t> heard_ms{0};
  };

  static void OnPipe(nng_pipe pipe, nng_pipe_ev event, void* argument);

  const std::shared_ptr<Link> link_;
  std::atomic<bool> given_up_{false};
  NngSocket socket_;
};

}  // namespace tandem::replica
