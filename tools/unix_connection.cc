#include "tools/unix_connection.h"

#include <endian.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <thread>

namespace tandem::tools {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectPause{10};

tl::unexpected<Error> GoneError() {
  return MakeError(ErrorKind::kUnreachable, "the peer has closed the connection", ECONNRESET);
}

tl::unexpected<Error> LateError() {
  return MakeError(ErrorKind::kUnreachable, "the time is up", ETIMEDOUT);
}

// Rounded up, so that poll does not end just before the deadline again and again.
milliseconds TimeUntil(UnixConnection::Clock::time_point deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - UnixConnection::Clock::now());
  return std::clamp(left, milliseconds(0), milliseconds(INT32_MAX));
}

}  // namespace

Result<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return MakeError(ErrorKind::kUsage,
                     "use " + path + " as a socket (its path has " + std::to_string(path.size()) +
                         " bytes, at most " + std::to_string(sizeof address.sun_path - 1) +
                         " are possible: set XDG_RUNTIME_DIR to a directory with a shorter path)",
                     ENAMETOOLONG);
  }
  path.copy(address.sun_path, path.size());
  return address;
}

Result<UnixConnection> UnixConnection::Connect(const std::string& path,
                                               Clock::time_point deadline) {
  ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  while (true) {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return ErrnoError("make a socket");
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      return UnixConnection(std::move(fd));
    }
    // The backlog is full; or the server is ending, or the next one is starting.
    const int code = errno;
    const bool may_pass = code == EAGAIN || code == ECONNREFUSED || code == ENOENT || code == EINTR;
    if (!may_pass || Clock::now() >= deadline) return ErrnoError(code, "connect to " + path);
    std::this_thread::sleep_for(std::min(kConnectPause, TimeUntil(deadline)));
  }
}

Status UnixConnection::Send(std::string_view message, Clock::time_point deadline) {
  if (message.size() > UINT32_MAX) {
    return MakeError(ErrorKind::kProtocol,
                     "send a message of " + std::to_string(message.size()) + " bytes (too long)");
  }
  const uint32_t length = htole32(static_cast<uint32_t>(message.size()));
  RETURN_IF_ERROR(SendBytes({reinterpret_cast<const char*>(&length), sizeof length}, deadline));
  return SendBytes(message, deadline);
}

Result<std::string> UnixConnection::Receive(size_t max_bytes, Clock::time_point deadline) {
  uint32_t length = 0;
  RETURN_IF_ERROR(ReceiveBytes(reinterpret_cast<char*>(&length), sizeof length, deadline));
  length = le32toh(length);
  if (length > max_bytes) {
    return MakeError(ErrorKind::kProtocol, "receive a message of " + std::to_string(length) +
                                               " bytes (at most " + std::to_string(max_bytes) +
                                               " are allowed)");
  }
  std::string message(length, '\0');
  RETURN_IF_ERROR(ReceiveBytes(message.data(), message.size(), deadline));
  return message;
}

bool UnixConnection::IsGone() const {
  pollfd wanted = {fd_.get(), 0, 0};
  return poll(&wanted, 1, 0) > 0 && (wanted.revents & (POLLHUP | POLLERR)) != 0;
}

Status UnixConnection::SendBytes(std::string_view bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(WaitFor(POLLOUT, deadline));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return GoneError();
    } else if (errno != EINTR) {
      return ErrnoError("send over a socket");
    }
  }
  return {};
}

Status UnixConnection::ReceiveBytes(char* bytes, size_t size, Clock::time_point deadline) {
  while (size > 0) {
    const ssize_t received = recv(fd_.get(), bytes, size, 0);
    if (received > 0) {
      bytes += received;
      size -= static_cast<size_t>(received);
    } else if (received == 0 || errno == ECONNRESET) {
      return GoneError();
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(WaitFor(POLLIN, deadline));
    } else if (errno != EINTR) {
      return ErrnoError("receive from a socket");
    }
  }
  return {};
}

// A socket whose peer has closed is ready, too; the next call on it fails.
Status UnixConnection::WaitFor(short events, Clock::time_point deadline) const {
  while (true) {
    pollfd wanted[] = {{stop_fd_, POLLIN, 0}, {fd_.get(), events, 0}};
    const int ready =
        poll(wanted, std::size(wanted), static_cast<int>(TimeUntil(deadline).count()));
    if (ready < 0 && errno != EINTR) return ErrnoError("wait for a socket");
    if (ready > 0 && wanted[0].revents != 0) {
      return MakeError(ErrorKind::kCancelled, "the server stops", ECANCELED);
    }
    // Checked even if data is ready, so that a peer that sends byte after byte is late as well.
    if (Clock::now() >= deadline) return LateError();
    if (ready > 0) return {};
  }
}

}  // namespace tandem::tools
