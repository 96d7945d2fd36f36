#include "tests/programs/lib/hostile_link.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace tandem::programs {
namespace {

constexpr int kHandshakeMs = 10'000;
constexpr uint64_t kLongestAnswer = 64 << 20;

Fd ConnectTcp(const std::string& address, const HostileTarget& target) {
  const size_t colon = address.rfind(':');
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &peer.sin_addr);
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (target.window != 0) {
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &target.window, sizeof target.window);
  }
  if (!target.from.empty()) {
    sockaddr_in own{};
    own.sin_family = AF_INET;
    inet_pton(AF_INET, target.from.c_str(), &own.sin_addr);
    (void)bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own);
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0) return Fd();
  return fd;
}

Fd ConnectIpc(const std::string& path) {
  sockaddr_un peer{};
  peer.sun_family = AF_UNIX;
  std::strncpy(peer.sun_path, path.c_str(), sizeof peer.sun_path - 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0) return Fd();
  return fd;
}

bool WaitFor(int fd, short events, int ms) {
  pollfd polled{fd, events, 0};
  return poll(&polled, 1, ms) > 0;
}

}  // namespace

void HostileLink::Free::operator()(ssl_st* ssl) const { SSL_free(ssl); }
void HostileLink::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

HostileLink::HostileLink(const HostileTarget& target) {
  const size_t at = target.url.find("://");
  const std::string scheme = target.url.substr(0, at);
  const std::string rest = target.url.substr(at + 3);
  is_ipc_ = scheme == "ipc";
  fd_ = is_ipc_ ? ConnectIpc(rest) : ConnectTcp(rest, target);
  if (fd_.ok() && scheme == "tls" && !ShakeHands(target)) Close();
  if (fd_.ok()) fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
}

HostileLink::~HostileLink() { Close(); }

void HostileLink::Close() {
  ssl_.reset();
  fd_ = Fd();
}

// Believes every certificate.
bool HostileLink::ShakeHands(const HostileTarget& target) {
  const timeval limit{kHandshakeMs / 1000, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!target.certificate.empty() &&
      (SSL_CTX_use_certificate_chain_file(context_.get(), target.certificate.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context_.get(), target.key.c_str(), SSL_FILETYPE_PEM) != 1)) {
    return false;
  }
  SSL_CTX_set_mode(context_.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_fd(ssl_.get(), fd_.get());
  return SSL_connect(ssl_.get()) == 1;
}

std::string HostileLink::ClientHello() {
  const std::unique_ptr<ssl_ctx_st, Free> context(SSL_CTX_new(TLS_client_method()));
  const std::unique_ptr<ssl_st, Free> ssl(SSL_new(context.get()));
  BIO* const out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
  (void)SSL_connect(ssl.get());  // gets as far as waiting for the answer
  std::string hello(BIO_ctrl_pending(out), '\0');
  BIO_read(out, hello.data(), static_cast<int>(hello.size()));
  return hello;
}

bool HostileLink::HearsWithin(int ms) const { return ok() && WaitFor(fd_.get(), POLLIN, ms); }

bool HostileLink::UpdateKeys() {
  if (!ok()) return false;
  ERR_clear_error();
  // An update that waits for room is sent first.
  if (SSL_get_key_update_type(ssl_.get()) == SSL_KEY_UPDATE_NONE &&
      SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) != 1) {
    return false;
  }
  const int sent = SSL_do_handshake(ssl_.get());
  if (sent == 1) return true;
  const int why = SSL_get_error(ssl_.get(), sent);
  if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) Close();
  return false;
}

bool HostileLink::Ended() {
  if (!ok()) return true;
  pollfd polled{fd_.get(), POLLRDHUP, 0};
  if (poll(&polled, 1, 0) > 0) Close();
  return !ok();
}

size_t HostileLink::SendSome(std::string_view bytes) {
  if (!ok() || bytes.empty()) return 0;
  ERR_clear_error();
  if (ssl_) {
    const int sent = SSL_write(ssl_.get(), bytes.data(),
                               static_cast<int>(std::min<size_t>(bytes.size(), 1 << 20)));
    if (sent > 0) return static_cast<size_t>(sent);
    const int why = SSL_get_error(ssl_.get(), sent);
    if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) Close();
    return 0;
  }
  const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<size_t>(sent);
  if (errno != EAGAIN && errno != EINTR) Close();
  return 0;
}

bool HostileLink::Send(std::string_view bytes) {
  while (!bytes.empty() && ok()) {
    const size_t sent = SendSome(bytes);
    bytes.remove_prefix(sent);
    if (sent == 0 && ok() && !WaitFor(fd_.get(), POLLOUT, kHandshakeMs)) return false;
  }
  return ok();
}

bool HostileLink::ReadAll(char* bytes, size_t size, int ms) {
  while (size > 0 && ok()) {
    ssize_t got = 0;
    ERR_clear_error();
    if (ssl_) {
      got = SSL_read(ssl_.get(), bytes, static_cast<int>(std::min<size_t>(size, 1 << 20)));
      const int why = got > 0 ? 0 : SSL_get_error(ssl_.get(), static_cast<int>(got));
      if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN, got = -1;
      else if (got <= 0)
        got = 0;
    } else {
      got = recv(fd_.get(), bytes, size, 0);
    }
    if (got > 0) {
      bytes += got;
      size -= static_cast<size_t>(got);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      Close();
    } else if (!WaitFor(fd_.get(), POLLIN, ms)) {
      return false;
    }
  }
  return size == 0;
}

bool HostileLink::Greet() {
  char theirs[kGreetingBytes];
  return Send({kGreeting, kGreetingBytes}) && ReadAll(theirs, sizeof theirs, kHandshakeMs);
}

std::string HostileLink::Header(uint64_t body_bytes) const {
  const uint64_t length = htobe64(body_bytes);
  std::string header(is_ipc_ ? "\1" : "");
  return header.append(reinterpret_cast<const char*>(&length), sizeof length);
}

std::string HostileLink::Frame(std::string_view message) {
  const uint32_t number = htobe32(++number_ | 0x80000000);
  std::string frame = Header(sizeof number + message.size());
  return frame.append(reinterpret_cast<const char*>(&number), sizeof number).append(message);
}

std::optional<std::string> HostileLink::Ask(std::string_view message, int ms) {
  if (!Send(Frame(message))) return std::nullopt;
  char header[9];
  const size_t header_bytes = is_ipc_ ? 9 : 8;
  if (!ReadAll(header, header_bytes, ms)) return std::nullopt;
  uint64_t length = 0;
  std::memcpy(&length, header + header_bytes - sizeof length, sizeof length);
  length = be64toh(length);
  if (length < sizeof number_ || length > kLongestAnswer) return std::nullopt;
  std::string body(length, '\0');
  if (!ReadAll(body.data(), body.size(), ms)) return std::nullopt;
  return body.substr(sizeof number_);
}

}  // namespace tandem::programs
