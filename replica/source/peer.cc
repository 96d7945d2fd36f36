#include "replica/source/peer.h"

#include "meta/base/log.h"
#include "replica/source/tuning.h"
#include "replica/transport/tuning.h"

namespace tandem::replica {
namespace {

ErrorKind KindOf(ReplyCode code) {
  switch (code) {
    case ReplyCode::kUnknownSession:
    case ReplyCode::kUnknownStage:
    case ReplyCode::kWrongBase:
    case ReplyCode::kBusy:
      return ErrorKind::kUnreachable;
    case ReplyCode::kRefused:
    case ReplyCode::kVersion:
      return ErrorKind::kRefused;
    case ReplyCode::kBasisChanged:
    case ReplyCode::kMissingObjects:
      return ErrorKind::kGivenUp;
    case ReplyCode::kNoSpace:
    case ReplyCode::kIoError:
    case ReplyCode::kNotFound:
    case ReplyCode::kUnreadable:
      return ErrorKind::kSystem;
    case ReplyCode::kOk:
    case ReplyCode::kBadRequest:
      break;
  }
  return ErrorKind::kProtocol;
}

// Returns, for people, why the session has to begin anew; an empty string if the code does not mean
// that.
std::string InWords(ReplyCode code) {
  switch (code) {
    case ReplyCode::kUnknownSession:
      return "tandemd has been started again, or speaks with another tandemfs: connecting anew";
    case ReplyCode::kUnknownStage:
      return "tandemd does not have what was sent of the cut any more: sending it again";
    case ReplyCode::kWrongBase:
      return "the replica is at another cut than was thought: asking it where it is";
    case ReplyCode::kBusy:
      return "the replica is applying a cut: asking again";
    default:
      return "";
  }
}

int ErrnoOf(ReplyCode code) {
  switch (code) {
    case ReplyCode::kNoSpace:
      return ENOSPC;
    case ReplyCode::kNotFound:
      return ENOENT;
    // Neither is taken for an error of a disk here.
    case ReplyCode::kUnreadable:
      return EREMOTE;
    default:
      return EREMOTEIO;
  }
}

}  // namespace

Result<std::unique_ptr<Peer>> Peer::Dial(const std::string& url, FindCredentials find_credentials,
                                         std::function<void()> on_connection,
                                         std::chrono::milliseconds answer_timeout) {
  std::unique_ptr<SshTunnel> tunnel;
  if (IsSshUrl(url)) {
    ASSIGN_OR_RETURN(const SshUrl ssh, ParseSshUrl(url));
    ASSIGN_OR_RETURN(tunnel, SshTunnel::Open(ssh));
  }
  RequestSocket::Options options;
  options.find_credentials = std::move(find_credentials);
  // Of no session: the replica refuses it without asking any volume.
  options.sign_of_life = EncodeRequest({SessionId(), WaitApplied{}});
  options.on_connection = std::move(on_connection);
  ASSIGN_OR_RETURN(auto socket, RequestSocket::Dial(tunnel == nullptr ? url : tunnel->local_url(),
                                                    std::move(options)));
  return std::unique_ptr<Peer>(new Peer(url, std::move(tunnel), std::move(socket), answer_timeout));
}

Result<Position> Peer::Open(const Hello& hello) {
  session_ = SessionId();
  ASSIGN_OR_RETURN(Position position, AskFor<Position>(hello));
  if (position.session.is_null()) {
    return MakeError(ErrorKind::kProtocol, "replica at " + url_ + " opened a session without id");
  }
  if (position.protocol < hello.protocol_oldest || position.protocol > hello.protocol_newest) {
    return MakeError(ErrorKind::kProtocol, "replica at " + url_ + " chose protocol " +
                                               std::to_string(position.protocol) +
                                               ", which was not offered");
  }
  session_ = position.session;
  protocol_ = position.protocol;
  pace_.BeginSession();
  return position;
}

Status Peer::ToStatus(const Reply& reply) {
  if (reply.code == ReplyCode::kOk) return {};
  if (std::string words = InWords(reply.code); !words.empty()) {
    LogDebug("{}: {}", NameOf(reply.code), reply.message);  // the error does not say it
    return MakeError(KindOf(reply.code), std::move(words), ErrnoOf(reply.code));
  }
  return MakeError(KindOf(reply.code), std::string(NameOf(reply.code)) + ": " + reply.message,
                   ErrnoOf(reply.code));
}

bool Peer::IsUnreadableThere(const Error& error) {
  constexpr auto kCode = ReplyCode::kUnreadable;
  return error.kind() == KindOf(kCode) && error.code() == ErrnoOf(kCode);
}

std::string Peer::Trouble() {
  if (socket_->connection() == 0) {
    return tunnel_ == nullptr ? socket_->WhyNotConnected() : tunnel_->Trouble();
  }
  const auto silence = socket_->silence();
  if (silence < kLinkQuiet) return "";
  return "nothing heard from " + url_ + " for " + std::to_string(silence.count() / 1000) + " s";
}

Result<PeerSession::Pending> PeerSession::Send(RequestBody body) const {
  ASSIGN_OR_RETURN(auto call,
                   socket_->Send(EncodeRequest({session_, std::move(body)}), answer_timeout_));
  return Pending(*url_, std::move(call));
}

Result<Reply> PeerSession::Pending::Wait() {
  const auto bytes = call_->Wait();
  if (!bytes && bytes.error().kind() == ErrorKind::kUnreachable) {
    return MakeError(ErrorKind::kUnreachable,
                     "tandemd at " + *url_ + " does not answer (" + bytes.error().ToString() + ")",
                     bytes.error().code());
  }
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  auto reply = DecodeReply(*bytes);
  if (reply) return reply;
  return tl::unexpected<Error>(std::move(reply.error()).Within("replica at " + *url_));
}

Result<std::optional<Listing>> Peer::ListPage(const List& ask, size_t& so_far) {
  ASSIGN_OR_RETURN(Reply reply, Ask(ask));
  return ToListing(ask, std::move(reply), so_far);
}

Result<std::optional<Listing>> Peer::ToListing(const List& ask, Reply reply, size_t& so_far) const {
  if (reply.code == ReplyCode::kNotFound) return std::nullopt;
  RETURN_IF_ERROR(ToStatus(reply));
  auto* listing = std::get_if<Listing>(&reply.body);
  if (listing == nullptr) {
    return MakeError(ErrorKind::kProtocol,
                     "replica at " + url_ + " answered a list with something else");
  }
  // Within one answer the names go forward, which decoding has checked.
  const bool leads_nowhere =
      listing->entries.empty() ? listing->more : listing->entries.front().name <= ask.after;
  so_far += listing->entries.size();
  if (leads_nowhere || so_far > kMaxNamesListed) {
    return MakeError(ErrorKind::kProtocol,
                     "replica at " + url_ + " lists a directory that does not end");
  }
  return std::move(*listing);
}

Result<Reply> Peer::Ask(RequestBody body) {
  ASSIGN_OR_RETURN(Pending pending, Send(std::move(body)));
  return pending.Wait();
}

}  // namespace tandem::replica
