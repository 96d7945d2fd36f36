// Requests and their answers over nng's byte streams; only this folder includes nng's headers.
// CONNECTIONS.md describes what is on the wire. Messages are byte strings; replica/wire/messages.h
// describes their content. URLs: tcp://HOST:PORT, tls://HOST:PORT, ipc:///PATH.
#pragma once

#include <sys/types.h>

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
#include "replica/transport/credentials.h"

namespace tandem::replica {

// Sends requests to one peer. Any thread may use it, and many calls may be under way at once. It
// connects in the background and reconnects by itself. A request that is under way when the
// connection breaks is sent again, so requests must be repeatable.
class RequestSocket {
 public:
  class Call;  // one request under way

  struct Options {
    // For tls:// only. Called before each attempt to connect.
    FindCredentials find_credentials;
    // A request that any peer answers at once. It is sent while an answer is awaited and nothing
    // has been heard for kAskAfterSilence. Empty: none is.
    std::string sign_of_life;
    // Called when a connection has been made or has ended, on any thread, with nothing locked. It
    // must not wait.
    std::function<void()> on_connection;
  };

  // Does not wait for the peer. Returns kUsage if the URL is invalid.
  static Result<std::unique_ptr<RequestSocket>> Dial(const std::string& url, Options options);
  static Result<std::unique_ptr<RequestSocket>> Dial(const std::string& url,
                                                     const Credentials& credentials = {});
  virtual ~RequestSocket() = default;

  // Sends a request; Call::Wait returns the answer. The socket must outlive the call.
  virtual Result<std::unique_ptr<Call>> Send(std::string request,
                                             std::chrono::milliseconds timeout) = 0;
  // Sends a request and waits for the answer.
  Result<std::string> Ask(std::string request, std::chrono::milliseconds timeout);

  // Returns the number of the current connection, counted from 1, or 0 if there is none.
  virtual uint64_t connection() const = 0;
  // Returns the number of connections made so far.
  virtual uint64_t connections() const = 0;
  // Returns the time since anything came over the current connection or, over TCP, since the peer's
  // host took in part of what was sent, so that a large message over a slow link is no silence.
  // Returns zero if there is no connection, or if no answer is due.
  virtual std::chrono::milliseconds silence() = 0;
  // Returns the same time, whether or not an answer is due.
  virtual std::chrono::milliseconds unheard() = 0;
  // Returns, for people, why there is no connection; an empty string if there is one, or if the
  // first attempt has not ended yet.
  virtual std::string WhyNotConnected() const = 0;
  // Returns true if there is no connection because this host has no key for the peer, or the peer
  // shows a certificate that is not trusted. A person has to do something about either.
  virtual bool IsUntrusted() const = 0;
  // Ends the current connection and makes another, with credentials that are found anew. Calls
  // under way are sent again.
  virtual void Reconnect() = 0;
  // Bytes of messages, without the overhead of TCP and nng.
  virtual uint64_t sent_bytes() const = 0;
  virtual uint64_t received_bytes() const = 0;
  // Ends all calls under way, and all later ones, with kCancelled. May be called more than once.
  virtual void Close() = 0;
};

class RequestSocket::Call {
 public:
  virtual ~Call() = default;  // cancels the call if it is under way
  // Waits for the answer. Returns kUnreachable after the time-out, and kCancelled after Close.
  virtual Result<std::string> Wait() = 0;
  // Returns the time from Send to the answer, which Wait has returned.
  virtual std::chrono::steady_clock::duration took() const = 0;
};

// Answers requests, each on a thread of its own, at most `workers` at once, so the handler may
// block. Connections take turns, and none of them holds up another: CONNECTIONS.md states the
// limits.
class ReplySocket {
 public:
  struct Options {
    int workers = 1;
    size_t max_message_bytes = 0;  // a larger one ends its connection
    // What this host shows to peers over tls://. Without one such URLs are refused.
    Credentials credentials;
    // Of the sockets at ipc:// URLs.
    mode_t ipc_mode = 0600;
  };
  using Handler = std::function<std::string(std::string_view request)>;
  // Is also given the connection over which the request came, which is never null.
  using ConnectionHandler =
      std::function<std::string(std::string_view request, const ConnectionRef& connection)>;

  static Result<std::unique_ptr<ReplySocket>> Listen(const std::vector<std::string>& urls,
                                                     const Options& options,
                                                     ConnectionHandler handler);
  static Result<std::unique_ptr<ReplySocket>> Listen(const std::vector<std::string>& urls,
                                                     int workers, size_t max_message_bytes,
                                                     ConnectionHandler handler);
  static Result<std::unique_ptr<ReplySocket>> Listen(const std::vector<std::string>& urls,
                                                     int workers, size_t max_message_bytes,
                                                     Handler handler);
  // Waits for handlers under way, and ends all connections.
  virtual ~ReplySocket() = default;
  // Returns the URLs that it listens on, with port 0 replaced by the actual port.
  virtual std::vector<std::string> urls() const = 0;
};

}  // namespace tandem::replica
