// Answers messages over a local socket that only its owner and root may use (format:
// unix_connection.h). A connection carries one request and its answer, on a thread of its own, so
// the handler may block. At most `max_connections` are open at once; others wait to be accepted. A
// client that sends nothing, or does not read the answer, is disconnected in time and delays no
// other client.
//
// The handler is called by several threads at once. It is not called for a client that has
// disconnected.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::tools {

class UnixServer {
 public:
  using Handler = std::function<std::string(std::string_view request)>;

  struct Limits {
    size_t max_connections = 64;
    size_t max_request_bytes = 1 << 20;
    // Time from the connection to the end of the request.
    std::chrono::milliseconds request_time{2'000};
    // Time to send the whole answer.
    std::chrono::milliseconds answer_time{10'000};
  };

  // Makes the socket. Clients can connect at once, and wait until Serve is called. `path` must not
  // exist. Fails with kUsage if it is too long for a socket.
  static Result<std::unique_ptr<UnixServer>> Listen(const std::string& path, const Limits& limits,
                                                    Handler handler);
  // Starts to answer. Cannot fail.
  void Serve();
  // Stops accepting, waits for running handlers, and sends as much of their answers as can be sent
  // without waiting. Does not remove the socket file.
  ~UnixServer();

 private:
  struct Connection;

  UnixServer(const Limits& limits, Handler handler)
      : limits_(limits), handler_(std::move(handler)) {}
  Status Start(const std::string& path);
  void Run();
  bool AwaitServe() const;
  void Accept(std::list<Connection>& connections);
  void Answer(UniqueFd fd) const;

  const Limits limits_;
  const Handler handler_;
  UniqueFd stop_;   // eventfd; readable once the server stops
  UniqueFd serve_;  // eventfd; readable once it is to answer
  UniqueFd ended_;  // eventfd; written when a connection has ended
  UniqueFd listener_;
  bool short_of_descriptors_ = false;  // used by the accepting thread only
  std::thread thread_;
};

}  // namespace tandem::tools
