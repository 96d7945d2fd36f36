// A REQ socket of nng's with its dialer, which makes one connection after the other.
#pragma once

#include <nng/nng.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "meta/base/result.h"
#include "replica/transport/nng_handles.h"
#include "replica/transport/tcp_progress.h"

namespace tandem::replica {

// Any thread. What nng's threads use outlives the socket, should nng not close it.
class DialedSocket {
 public:
  // Counts its connections in `connections`.
  explicit DialedSocket(std::shared_ptr<std::atomic<uint64_t>> connections);

  // Does not wait for the peer. Fails on a URL that makes no sense.
  Status Start(const std::string& url);

  nng_socket handle() const { return socket_.handle; }
  // Once nng is stuck it does not tell of the end of a connection: silence() finds it.
  bool connected() const { return link_->pipes > 0 && !link_->progress.ended(); }

  // Something came from the peer.
  void Heard() { link_->Heard(); }
  // See RequestSocket.
  std::chrono::milliseconds silence() { return link_->Silence(); }
  void GiveUp() { given_up_ = true; }
  // A call timed out after `patience`. If that is seconds, a connection that has been silent for
  // seconds is taken for dead (a pulled cable, a firewall that drops; TCP itself would need a
  // quarter of an hour to notice): it is closed, and with it the socket is given up.
  void TimedOut(std::chrono::milliseconds patience);
  // No use for further calls: nng 1.5 may wait for ever with clearing away a connection, this one's
  // or another's (CloseSocket), and does not dial again before it has. A socket that never had a
  // connection goes on dialing, and is not given up.
  bool given_up() const { return given_up_; }

 private:
  struct Link {
    explicit Link(std::shared_ptr<std::atomic<uint64_t>> total) : connections(std::move(total)) {}
    void Heard();
    std::chrono::milliseconds Silence();

    const std::shared_ptr<std::atomic<uint64_t>> connections;
    std::atomic<int> pipes{0};
    std::atomic<uint32_t> last_pipe{0};  // 0: never connected
    std::atomic<int64_t> heard_ms{0};
    TcpProgress progress;
    std::atomic<uint64_t> progressed{0};  // what it said when that was heard
  };

  static void OnPipe(nng_pipe pipe, nng_pipe_ev event, void* argument);

  const std::shared_ptr<Link> link_;
  std::atomic<bool> given_up_{false};
  NngSocket socket_;
};

}  // namespace tandem::replica
