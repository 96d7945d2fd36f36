#include "tools/unix_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include "meta/base/log.h"
#include "meta/base/private_files.h"
#include "tools/unix_connection.h"

namespace tandem::tools {
namespace {

using Clock = UnixConnection::Clock;

// Pause after accept has failed for lack of descriptors or threads.
constexpr int kPauseMs = 100;

// Returns whether the peer is another user than the owner and root. The mode of the socket lets in
// one with CAP_DAC_OVERRIDE.
bool IsOtherUser(int fd) {
  ucred peer = {};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return true;
  return peer.uid != 0 && peer.uid != geteuid();
}

// Sets the mode between bind and listen: no client can connect earlier, whatever the umask.
Result<UniqueFd> ListenAt(const std::string& path) {
  ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError("make a socket");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(path.c_str(), kPrivateFile) != 0 || listen(fd.get(), SOMAXCONN) != 0) {
    return ErrnoError("listen on " + path);
  }
  return fd;
}

}  // namespace

struct UnixServer::Connection {
  std::atomic<bool> has_ended{false};
  std::thread thread;
};

Result<std::unique_ptr<UnixServer>> UnixServer::Listen(const std::string& path,
                                                       const Limits& limits, Handler handler) {
  std::unique_ptr<UnixServer> server(new UnixServer(limits, std::move(handler)));
  RETURN_IF_ERROR(server->Start(path));
  return server;
}

Status UnixServer::Start(const std::string& path) {
  stop_.Reset(eventfd(0, EFD_CLOEXEC));
  ended_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_.valid() || !ended_.valid()) return ErrnoError("make an eventfd");
  serve_.Reset(eventfd(0, EFD_CLOEXEC));
  if (!serve_.valid()) return ErrnoError("make an eventfd");
  ASSIGN_OR_RETURN(listener_, ListenAt(path));
  thread_ = std::thread(&UnixServer::Run, this);
  return {};
}

void UnixServer::Serve() { eventfd_write(serve_.get(), 1); }

// Returns false if the server stops before.
bool UnixServer::AwaitServe() const {
  pollfd wanted[] = {{stop_.get(), POLLIN, 0}, {serve_.get(), POLLIN, 0}};
  while (poll(wanted, std::size(wanted), -1) < 0) {  // EINTR
  }
  return wanted[0].revents == 0;
}

UnixServer::~UnixServer() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void UnixServer::Run() {
  if (!AwaitServe()) return listener_.Reset();
  std::list<Connection> connections;
  while (true) {
    // Reset before the connections are checked: one that ends later makes it readable again.
    eventfd_t ignored;
    (void)eventfd_read(ended_.get(), &ignored);
    connections.remove_if([](Connection& connection) {
      if (!connection.has_ended) return false;
      connection.thread.join();
      return true;
    });
    // poll ignores a negative descriptor.
    const bool is_full = connections.size() >= limits_.max_connections;
    pollfd wanted[] = {{stop_.get(), POLLIN, 0},
                       {ended_.get(), POLLIN, 0},
                       {is_full ? -1 : listener_.get(), POLLIN, 0}};
    if (poll(wanted, std::size(wanted), -1) < 0) continue;  // EINTR
    if (wanted[0].revents != 0) break;
    if (wanted[2].revents != 0) Accept(connections);
  }
  listener_.Reset();
  for (Connection& connection : connections) connection.thread.join();
}

void UnixServer::Accept(std::list<Connection>& connections) {
  UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  int code = fd.valid() ? 0 : errno;
  if (fd.valid()) {
    if (IsOtherUser(fd.get())) return;
    Connection& connection = connections.emplace_back();
    try {
      connection.thread = std::thread([this, &connection, fd = std::move(fd)]() mutable {
        Answer(std::move(fd));
        connection.has_ended = true;
        eventfd_write(ended_.get(), 1);
      });
      short_of_descriptors_ = false;
      return;
    } catch (const std::system_error& e) {
      connections.pop_back();
      code = e.code().value();
    }
  }
  // The client has disconnected, or the call was interrupted.
  if (code == EAGAIN || code == EINTR || code == ECONNABORTED) return;
  if (!std::exchange(short_of_descriptors_, true)) {
    const Error error(ErrorKind::kSystem, code, "accept a control connection");
    LogWarning("{}: retrying", error.ToString());
  }
  pollfd wanted = {stop_.get(), POLLIN, 0};
  (void)poll(&wanted, 1, kPauseMs);
}

void UnixServer::Answer(UniqueFd fd) const {
  try {
    UnixConnection connection(std::move(fd), stop_.get());
    const auto request =
        connection.Receive(limits_.max_request_bytes, Clock::now() + limits_.request_time);
    // A client that has given up has reported a failure, so the request must not be carried out.
    if (!request || connection.IsGone()) return;
    const std::string answer = handler_(*request);
    if (answer.size() > kMaxAnswerBytes) {
      LogError("control answer of {} bytes dropped: it is longer than the protocol allows",
               answer.size());
      return;
    }
    // A client that did not read it can ask again.
    (void)connection.Send(answer, Clock::now() + limits_.answer_time);
  } catch (const std::exception& e) {
    LogError("exception while answering a control request: {}", e.what());
  }
}

}  // namespace tandem::tools
