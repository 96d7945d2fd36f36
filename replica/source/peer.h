// A replica daemon as tandemfs sees it: typed requests over a RequestSocket, with the session they
// belong to.
//
// One thread. Others may use a PeerSession, and call only Close, Reconnect and the functions that
// tell of connections and bytes.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "replica/source/bandwidth.h"
#include "replica/source/pace.h"
#include "replica/source/tuning.h"
#include "replica/transport/ssh_tunnel.h"
#include "replica/transport/transport.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// Sends requests of one session. They fail once the session has ended, and Peer::Open begins
// another. Any thread may use it; the peer must outlive it.
class PeerSession {
 public:
  // One request under way.
  class Pending {
   public:
    Result<Reply> Wait();
    // Returns the time from the sending of the request to the answer, once Wait has returned it.
    std::chrono::steady_clock::duration took() const { return call_->took(); }

   private:
    friend class PeerSession;
    Pending(const std::string& url, std::unique_ptr<RequestSocket::Call> call)
        : url_(&url), call_(std::move(call)) {}
    const std::string* url_;  // the peer's
    std::unique_ptr<RequestSocket::Call> call_;
  };
  Result<Pending> Send(RequestBody body) const;

 private:
  friend class Peer;
  PeerSession(const std::string& url, RequestSocket& socket,
              std::chrono::milliseconds answer_timeout, SessionId session)
      : url_(&url), socket_(&socket), answer_timeout_(answer_timeout), session_(session) {}

  const std::string* url_;
  RequestSocket* socket_;
  std::chrono::milliseconds answer_timeout_;
  SessionId session_;
};

class Peer {
 public:
  // `on_connection`: as in RequestSocket::Options; may be null.
  static Result<std::unique_ptr<Peer>> Dial(
      const std::string& url, FindCredentials find_credentials = NoCredentials,
      std::function<void()> on_connection = nullptr,
      std::chrono::milliseconds answer_timeout = kAnswerTimeout);

  // Opens a session; all requests that follow belong to it. Returns kProtocol if the answer names
  // none, or names a version that was not offered.
  Result<Position> Open(const Hello& hello);

  // Returns the answer, whatever its code. An Error means that there was none, or that it cannot be
  // decoded.
  Result<Reply> Ask(RequestBody body);
  // Returns the body of an Ok reply; other codes become Errors.
  template <typename T>
  Result<T> AskFor(RequestBody body) {
    ASSIGN_OR_RETURN(Reply reply, Ask(std::move(body)));
    RETURN_IF_ERROR(ToStatus(reply));
    auto* answer = std::get_if<T>(&reply.body);
    if (answer == nullptr) {
      return MakeError(ErrorKind::kProtocol,
                       "replica at " + url_ + " gave an answer of another kind");
    }
    return std::move(*answer);
  }

  // Returns one page of the names the replica lists, those after `ask.after`, in byte order, and
  // whether there are more. `so_far` counts the names of all pages. Returns nullopt if it has no
  // such directory, and kProtocol if the list does not end.
  Result<std::optional<Listing>> ListPage(const List& ask, size_t& so_far);
  // Does the same with the answer, which has come already.
  Result<std::optional<Listing>> ToListing(const List& ask, Reply reply, size_t& so_far) const;

  // Whether the replica takes Increment.
  bool TakesIncrements() const { return protocol_ >= kProtocolIncrements; }
  // Whether the replica takes FindContent and kCopy.
  bool FindsContent() const { return protocol_ >= kProtocolFindsContent; }

  using Pending = PeerSession::Pending;
  Result<Pending> Send(RequestBody body) { return session().Send(std::move(body)); }
  // Returns the current session, for requests that other threads send.
  PeerSession session() const { return {url_, *socket_, answer_timeout_, session_}; }

  // kOk is no error. kUnknownSession, kWrongBase and kBusy become kUnreachable: the caller opens
  // another session.
  static Status ToStatus(const Reply& reply);
  // Whether the error is ToStatus of kUnreadable.
  static bool IsUnreadableThere(const Error& error);

  const std::string& url() const { return url_; }
  uint64_t connection() const { return socket_->connection(); }
  uint64_t connections() const { return socket_->connections(); }
  // Returns, for people, in one line, why there is no connection, or that nothing is heard over it
  // though an answer is due; an empty string if nothing is known to be wrong.
  std::string Trouble();
  // See RequestSocket.
  std::chrono::milliseconds unheard() { return socket_->unheard(); }
  bool IsUntrusted() const { return socket_->IsUntrusted(); }
  void Reconnect() { socket_->Reconnect(); }
  // Of the change sets that are sent to it; null: none. Outlives the peer's last request.
  void SetLimit(BandwidthLimit* limit) { limit_ = limit; }
  BandwidthLimit* limit() const { return limit_; }
  // Of the change sets that are sent to it.
  Pace& pace() { return pace_; }
  const Pace& pace() const { return pace_; }
  uint64_t sent_bytes() const { return socket_->sent_bytes(); }
  uint64_t received_bytes() const { return socket_->received_bytes(); }
  void Close() { socket_->Close(); }

 private:
  static Result<Credentials> NoCredentials(const std::string&) { return Credentials(); }
  Peer(std::string url, std::unique_ptr<SshTunnel> tunnel, std::unique_ptr<RequestSocket> socket,
       std::chrono::milliseconds answer_timeout)
      : url_(std::move(url)),
        tunnel_(std::move(tunnel)),
        socket_(std::move(socket)),
        answer_timeout_(answer_timeout) {}

  const std::string url_;
  const std::unique_ptr<SshTunnel> tunnel_;  // null unless the URL is ssh://; outlives the socket
  const std::unique_ptr<RequestSocket> socket_;
  const std::chrono::milliseconds answer_timeout_;
  SessionId session_;
  uint32_t protocol_ = 0;  // of the session
  BandwidthLimit* limit_ = nullptr;
  Pace pace_;
};

}  // namespace tandem::replica
