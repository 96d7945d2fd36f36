#include "replica/peer.h"

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
      return ErrorKind::kSystem;
    case ReplyCode::kOk:
    case ReplyCode::kBadRequest:
      break;
  }
  return ErrorKind::kProtocol;
}

int ErrnoOf(ReplyCode code) {
  switch (code) {
    case ReplyCode::kNoSpace:
      return ENOSPC;
    case ReplyCode::kNotFound:
      return ENOENT;
    default:
      return EREMOTEIO;  // never taken for an error of a disk here
  }
}

}  // namespace

Result<std::unique_ptr<Peer>> Peer::Dial(const std::string& url,
                                         std::chrono::milliseconds answer_timeout) {
  ASSIGN_OR_RETURN(auto socket, RequestSocket::Dial(url));
  return std::unique_ptr<Peer>(new Peer(url, std::move(socket), answer_timeout));
}

Result<Position> Peer::Open(const Hello& hello) {
  session_ = SessionId();
  ASSIGN_OR_RETURN(Position position, AskFor<Position>(hello));
  session_ = position.session;
  return position;
}

Status Peer::ToStatus(const Reply& reply) {
  if (reply.code == ReplyCode::kOk) return {};
  return MakeError(KindOf(reply.code), std::string(NameOf(reply.code)) + ": " + reply.message,
                   ErrnoOf(reply.code));
}

Result<Peer::Pending> Peer::Send(RequestBody body) {
  ASSIGN_OR_RETURN(auto call,
                   socket_->Send(EncodeRequest({session_, std::move(body)}), answer_timeout_));
  return Pending(std::move(call));
}

Result<Reply> Peer::Pending::Wait() {
  ASSIGN_OR_RETURN(const std::string bytes, call_->Wait());
  return DecodeReply(bytes);
}

Result<Reply> Peer::Ask(RequestBody body) {
  ASSIGN_OR_RETURN(Pending pending, Send(std::move(body)));
  return pending.Wait();
}

}  // namespace tandem::replica
