// An nng REQ socket with its dialer, which makes one connection after another.
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

// Any thread may call it. The state that nng's threads use outlives the socket, in case nng fails
// to close it.
class DialedSocket {
 public:
  // Adds each connection that is made to `connections`.
  explicit DialedSocket(std::shared_ptr<std::atomic<uint64_t>> connections);

  // Starts to connect. Does not wait for the peer. Returns kUsage if the URL is invalid.
  Status Start(const std::string& url);

  nng_socket handle() const { return socket_.handle; }
  // Returns true while there is a connection. Once nng is stuck it no longer reports the end of a
  // connection; then a call of silence() finds it.
  bool connected() const { return link_->pipes > 0 && !link_->progress.ended(); }

  // Notes that something came from the peer.
  void Heard() { link_->Heard(); }
  // See RequestSocket::silence.
  std::chrono::milliseconds silence() { return link_->Silence(); }
  void GiveUp() { given_up_ = true; }
  // Notes that a call timed out after `patience`. If that is several seconds, and the connection
  // has been silent for several seconds, the connection counts as dead (a pulled cable, a firewall
  // that drops packets; TCP itself would need a quarter of an hour to notice). It is then closed,
  // and the socket is given up.
  void TimedOut(std::chrono::milliseconds patience);
  // Returns true if the socket is of no use for further calls. nng 1.5 may wait for ever while it
  // clears away this or another connection (see CloseSocket), and does not dial again before that
  // is done. A socket that never had a connection keeps dialing and is not given up.
  bool given_up() const { return given_up_; }

 private:
  struct Link {
    explicit Link(std::shared_ptr<std::atomic<uint64_t>> total) : connections(std::move(total)) {}
    void Heard();
    std::chrono::milliseconds Silence();

    const std::shared_ptr<std::atomic<uint64_t>> connections;
    std::atomic<int> pipes{0};
    std::atomic<uint32_t> last_pipe{0};  // 0 if never connected
    std::atomic<int64_t> heard_ms{0};
    TcpProgress progress;
    std::atomic<uint64_t> counted{0};  // progress.Bytes() when that last counted as heard
  };

  static void OnPipe(nng_pipe pipe, nng_pipe_ev event, void* argument);

  const std::shared_ptr<Link> link_;
  std::atomic<bool> given_up_{false};
  NngSocket socket_;
};

}  // namespace tandem::replica
