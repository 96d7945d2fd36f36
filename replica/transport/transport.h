// nng request/reply, wrapped: only this folder includes nng's headers. Messages are byte strings;
// what they mean stands in replica/wire/messages.h. URLs are nng's (tcp://HOST:PORT, ipc:///PATH).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"
#include "replica/transport/connection.h"

namespace tandem::replica {

// One peer. Any thread; many calls may be under way at once, each on a context of its own. It
// connects in the background and reconnects by itself; a request that was under way when the
// connection broke is sent again, so requests must be repeatable.
class RequestSocket {
 public:
  class Call;  // one request under way

  // Does not wait for the peer. Fails on a URL that makes no sense.
  static Result<std::unique_ptr<RequestSocket>> Dial(const std::string& url);
  virtual ~RequestSocket() = default;

  // Sends; wait for the answer with Call::Wait. The socket must outlive the call.
  virtual Result<std::unique_ptr<Call>> Send(std::string request,
                                             std::chrono::milliseconds timeout) = 0;
  Result<std::string> Ask(std::string request, std::chrono::milliseconds timeout);

  // The connection there is, counted from 1; 0: none.
  virtual uint64_t connection() const = 0;
  // Connections there have been.
  virtual uint64_t connections() const = 0;
  // Time since anything came over the connection there is, or, over TCP, since the peer's host took
  // anything of what was sent: a large message over a slow link is no silence. Zero: there is no
  // connection.
  virtual std::chrono::milliseconds silence() = 0;
  // Gives up the socket as it is: calls under way end with kUnreachable, the next one connects
  // anew.
  virtual void DialAnew() = 0;
  // Bytes of messages, without what TCP and nng add.
  virtual uint64_t sent_bytes() const = 0;
  virtual uint64_t received_bytes() const = 0;
  // Ends all calls under way, and all later ones, with ErrorKind::kCancelled. May be called again.
  virtual void Close() = 0;
};

class RequestSocket::Call {
 public:
  virtual ~Call() = default;  // cancels if still under way
  // kUnreachable after the time-out, kCancelled after Close.
  virtual Result<std::string> Wait() = 0;
};

// Answers requests: each on a thread of its own, at most `workers` at once, so the handler may
// block. Messages beyond `max_message_bytes` end their connection. ipc sockets are open to their
// owner only.
class ReplySocket {
 public:
  using Handler = std::function<std::string(std::string_view request)>;

  // Told what the request came over as well; never null.
  using ConnectionHandler =
      std::function<std::string(std::string_view request, const ConnectionRef& connection)>;

  static Result<std::unique_ptr<ReplySocket>> Listen(const std::vector<std::string>& urls,
                                                     int workers, size_t max_message_bytes,
                                                     ConnectionHandler handler);
  static Result<std::unique_ptr<ReplySocket>> Listen(const std::vector<std::string>& urls,
                                                     int workers, size_t max_message_bytes,
                                                     Handler handler);
  // Closes the socket and waits for handlers under way.
  virtual ~ReplySocket() = default;
  // The URLs actually listened on (port 0 resolved).
  virtual std::vector<std::string> urls() const = 0;
};

}  // namespace tandem::replica
