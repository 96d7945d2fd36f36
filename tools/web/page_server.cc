#include "tools/web/page_server.h"

#include <fcntl.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "meta/base/mutex.h"

namespace tandem::tools {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Of one request: everything that is read of it.
constexpr size_t kMaxRequestBytes = PageServer::kMaxBodyBytes + (32 << 10);
constexpr milliseconds kRequestTime{10'000};
// Of one piece of an answer.
constexpr milliseconds kWriteTime{10'000};
// After an answer, what the client still sends is thrown away, so that it gets to read the answer.
constexpr milliseconds kDrainTime{200};
constexpr size_t kMaxConnections = 40;

// A connection that a slow or garrulous client cannot hold for long.
class LimitedStream : public httplib::Stream {
 public:
  explicit LimitedStream(int fd) : fd_(fd), request_ends_(Clock::now() + kRequestTime) {}

  bool is_readable() const override { return at_ < end_ || Await(POLLIN, Clock::now()); }
  bool is_writable() const override { return Await(POLLOUT, Clock::now() + kWriteTime); }
  socket_t socket() const override { return fd_; }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}

  ssize_t read(char* to, size_t size) override {
    if (at_ == end_ && !Fill()) return -1;
    const size_t given = std::min(size, end_ - at_);
    std::copy_n(buffer_ + at_, given, to);
    at_ += given;
    return static_cast<ssize_t>(given);
  }

  ssize_t write(const char* from, size_t size) override {
    const auto deadline = Clock::now() + kWriteTime;
    while (Await(POLLOUT, deadline)) {
      const ssize_t sent = send(fd_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) return sent;
      if (errno != EAGAIN && errno != EINTR) return -1;
    }
    return -1;
  }

  void Drain() {
    shutdown(fd_, SHUT_WR);
    const auto deadline = Clock::now() + kDrainTime;
    while (total_ < 2 * kMaxRequestBytes && Await(POLLIN, deadline)) {
      const ssize_t got = recv(fd_, buffer_, sizeof buffer_, MSG_DONTWAIT);
      if (got <= 0) return;
      total_ += static_cast<size_t>(got);
    }
  }

 private:
  bool Await(short events, Clock::time_point deadline) const {
    while (true) {
      const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
      pollfd wanted = {fd_, events, 0};
      const int ready = poll(&wanted, 1, static_cast<int>(std::max<int64_t>(left, 0)));
      if (ready < 0 && errno == EINTR) continue;
      return ready > 0 && (wanted.revents & events) != 0;
    }
  }

  bool Fill() {
    if (total_ >= kMaxRequestBytes || Clock::now() >= request_ends_) return false;
    if (!Await(POLLIN, request_ends_)) return false;
    const ssize_t got = recv(fd_, buffer_, sizeof buffer_, MSG_DONTWAIT);
    if (got <= 0) return false;
    total_ += static_cast<size_t>(got);
    at_ = 0;
    end_ = static_cast<size_t>(got);
    return true;
  }

  const int fd_;
  const Clock::time_point request_ends_;
  size_t total_ = 0;
  char buffer_[4096];
  size_t at_ = 0;
  size_t end_ = 0;
};

// Threads that answer; as many connections are accepted. More wait in the kernel.
class BoundedPool : public httplib::TaskQueue {
 public:
  BoundedPool() : pool_(kMaxConnections) {}
  void enqueue(std::function<void()> answer) override {
    {
      MutexLock lock(mutex_);
      while (busy_ == kMaxConnections) freed_.Wait(mutex_);
      ++busy_;
    }
    pool_.enqueue([this, answer = std::move(answer)] {
      answer();
      MutexLock lock(mutex_);
      --busy_;
      freed_.NotifyOne();
    });
  }
  void shutdown() override { pool_.shutdown(); }

 private:
  Mutex mutex_;
  CondVar freed_;
  size_t busy_ GUARDED_BY(mutex_) = 0;
  httplib::ThreadPool pool_;
};

HttpRequest FromLibrary(const httplib::Request& from) {
  HttpRequest request;
  request.method = from.method;
  request.path = from.path;
  request.body = from.body;
  request.mount = from.get_param_value("mount");
  const std::pair<const char*, std::string*> headers[] = {{"Host", &request.host},
                                                          {"Origin", &request.origin},
                                                          {"Sec-Fetch-Site", &request.fetch_site},
                                                          {"Content-Type", &request.content_type},
                                                          {"Cookie", &request.cookies},
                                                          {"X-Tandem-Token", &request.token}};
  for (const auto& [name, value] : headers) {
    *value = from.get_header_value(name);
    if (from.get_header_value_count(name) > 1) request.is_odd = true;
  }
  for (const char* name : {"Content-Encoding", "Transfer-Encoding", "Range", "Expect"}) {
    if (from.has_header(name)) request.is_odd = true;
  }
  return request;
}

void ToLibrary(HttpResponse from, httplib::Response& response) {
  response.status = from.status;
  for (const auto& [name, value] : from.headers) response.set_header(name, value);
  if (!from.stream) return response.set_content(from.body, from.type);
  response.set_chunked_content_provider(
      from.type, [next = std::move(from.stream)](size_t, httplib::DataSink& sink) {
        const std::optional<std::string> piece = next();
        if (piece) return sink.write(piece->data(), piece->size());
        sink.done();
        return true;
      });
}

const httplib::Headers& HeadersOfAll() {
  static const httplib::Headers headers = {
      {"Cache-Control", "no-store"},
      {"Content-Security-Policy",
       "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
       "object-src 'none'"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      {"Referrer-Policy", "no-referrer"},
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"}};
  return headers;
}

// Only so that two servers cannot share a port, as the library's default lets them.
void SetSocketOptions(socket_t fd) {
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

class LibraryServer : public httplib::Server, public PageServer {
 public:
  explicit LibraryServer(ListenAddress address) : address_(std::move(address)) {
    new_task_queue = [] { return new BoundedPool(); };
    set_socket_options(SetSocketOptions);
    set_default_headers(HeadersOfAll());
    set_payload_max_length(kMaxBodyBytes);
  }
  ~LibraryServer() override {
    stop();
    if (thread_.joinable()) thread_.join();
  }

  Status Bind() {
    const ListenAddress asked = address_;
    errno = 0;
    if (asked.port == 0) {
      const int port = bind_to_any_port(asked.host);
      if (port > 0) address_.port = static_cast<uint16_t>(port);
      if (port > 0) return {};
    } else if (bind_to_port(asked.host, asked.port)) {
      return {};
    }
    const bool in_use = errno == EADDRINUSE;
    const std::string context = "listen on " + ToUrlHost(asked);
    if (!in_use) return ErrnoError(errno != 0 ? errno : EADDRNOTAVAIL, context);
    return MakeError(ErrorKind::kUsage,
                     context +
                         " (the address is in use, perhaps by another tandem web: press Enter in "
                         "its terminal for a link, or take a free port with --listen 127.0.0.1:0)",
                     EADDRINUSE);
  }

  const ListenAddress& address() const override { return address_; }

  void Serve(Site& site) override {
    set_pre_routing_handler([&site](const httplib::Request& from, httplib::Response& response) {
      auto refused = site.Refuse(FromLibrary(from));
      if (!refused) return HandlerResponse::Unhandled;
      ToLibrary(std::move(*refused), response);
      return HandlerResponse::Handled;
    });
    const auto handle = [&site](const httplib::Request& from, httplib::Response& response) {
      ToLibrary(site.Handle(FromLibrary(from)), response);
    };
    Get(".*", handle);
    Post(".*", handle);
    thread_ = std::thread([this] { listen_after_bind(); });
  }

 private:
  bool process_and_close_socket(socket_t fd) override {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    LimitedStream stream(fd);
    bool ignored = false;
    const bool is_answered =
        process_request(stream, /*close_connection=*/true, ignored, [](httplib::Request&) {});
    stream.Drain();
    close(fd);
    return is_answered;
  }

  ListenAddress address_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<PageServer>> PageServer::Listen(const ListenAddress& address) {
  auto server = std::make_unique<LibraryServer>(address);
  RETURN_IF_ERROR(server->Bind());
  return server;
}

}  // namespace tandem::tools
