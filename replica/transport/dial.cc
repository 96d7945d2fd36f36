#include "replica/transport/dial.h"

#include <arpa/inet.h>
#include <nng/protocol/reqrep0/req.h>

#include <algorithm>
#include <chrono>

#include "replica/transport/tuning.h"
#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

constexpr size_t kMaxReplyBytes = kMaxMessageBytes;

int64_t NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

// Returns 0 if the address has no port.
uint16_t PortOf(nng_pipe pipe, const char* option) {
  nng_sockaddr address;
  if (nng_pipe_get_addr(pipe, option, &address) != 0) return 0;
  if (address.s_family == NNG_AF_INET) return ntohs(address.s_in.sa_port);
  return address.s_family == NNG_AF_INET6 ? ntohs(address.s_in6.sa_port) : 0;
}

tl::unexpected<Error> BadUrl(int code, const std::string& url) {
  return MakeError(ErrorKind::kUsage,
                   "connect to \"" + url + "\" (" + nng_strerror(code) +
                       "; a replica's URL is tcp://HOST:PORT or ipc:///PATH)",
                   EINVAL);
}

}  // namespace

DialedSocket::DialedSocket(std::shared_ptr<std::atomic<uint64_t>> connections)
    : link_(std::make_shared<Link>(std::move(connections))) {}

Status DialedSocket::Start(const std::string& url) {
  const std::string what = "connect to " + url;
  if (const int code = nng_req0_open(&socket_.handle); code != 0) return NngError(code, what);
  socket_.opened = true;
  socket_.keep = link_;
  nng_socket_set_ms(socket_.handle, NNG_OPT_REQ_RESENDTIME, kResendMs);
  nng_socket_set_size(socket_.handle, NNG_OPT_RECVMAXSZ, kMaxReplyBytes);
  nng_pipe_notify(socket_.handle, NNG_PIPE_EV_ADD_POST, OnPipe, link_.get());
  nng_pipe_notify(socket_.handle, NNG_PIPE_EV_REM_POST, OnPipe, link_.get());
  nng_dialer dialer;
  int code = nng_dialer_create(&dialer, socket_.handle, url.c_str());
  if (code != 0) return BadUrl(code, url);
  nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, kReconnectFirstMs);
  const int32_t longest = url.starts_with("ipc://") ? kReconnectLastHereMs : kReconnectLastMs;
  nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, NngIsStuck() ? kReconnectLastIfStuckMs : longest);
  // Transports without this option refuse it, and do not need it.
  (void)nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
  code = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
  if (code != 0) return BadUrl(code, url);
  return {};
}

void DialedSocket::TimedOut(std::chrono::milliseconds patience) {
  nng_pipe pipe = NNG_PIPE_INITIALIZER;
  pipe.id = link_->last_pipe;
  if (patience < kConnectionSilence || pipe.id == 0 || link_->Silence() < kConnectionSilence)
    return;
  given_up_ = true;
  nng_pipe_close(pipe);  // no effect if it is closed already
}

void DialedSocket::Link::Heard() { heard_ms = NowMs(); }

std::chrono::milliseconds DialedSocket::Link::Silence() {
  if (pipes <= 0) return {};
  const auto bytes = progress.Bytes();
  if (bytes && *bytes - counted >= kLeastProgressBytes) {
    counted = *bytes;
    Heard();
  }
  return std::chrono::milliseconds(std::max<int64_t>(0, NowMs() - heard_ms));
}

void DialedSocket::OnPipe(nng_pipe pipe, nng_pipe_ev event, void* argument) {
  auto* link = static_cast<Link*>(argument);
  if (event == NNG_PIPE_EV_ADD_POST) {
    link->Heard();
    link->counted = 0;
    link->progress.Follow(PortOf(pipe, NNG_OPT_LOCADDR), PortOf(pipe, NNG_OPT_REMADDR));
    link->last_pipe = pipe.id;
    ++*link->connections;
    ++link->pipes;
  } else if (event == NNG_PIPE_EV_REM_POST) {
    --link->pipes;
  }
}

}  // namespace tandem::replica
