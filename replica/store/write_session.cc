#include "replica/store/write_session.h"

#include "replica/store/volume_replies.h"

namespace tandem::replica {

std::optional<Reply> WriteSession::RefuseSecond(const Hello& hello, const std::string& peer) {
  MutexLock lock(mutex_);
  if (!holder_.Refuses(hello, CondVar::Clock::now(), peer)) return std::nullopt;
  return Refuse(
      ReplyCode::kRefused,
      "volume " + volume_ + " is being written by " + holder_.source() + ", and " + hello.source +
          " has the same identity: a machine or a state directory was cloned? End one of "
          "the two, and the other goes on by itself; to keep both, mount one of them with "
          "another --volume NAME and --state DIR");
}

void WriteSession::Open(const Hello& hello, const ConnectionRef& connection,
                        const std::string& peer) {
  MutexLock lock(mutex_);
  id_ = SessionId::Random();
  holder_.Take(hello, connection, CondVar::Clock::now(), peer);
}

void WriteSession::Renew() {
  MutexLock lock(mutex_);
  id_ = SessionId::Random();
}

SessionId WriteSession::id() {
  MutexLock lock(mutex_);
  return id_;
}

bool WriteSession::IsConnected() {
  MutexLock lock(mutex_);
  return holder_.IsConnected();
}

std::optional<uint64_t> WriteSession::BeginRequest(SessionId session,
                                                   const ConnectionRef& connection) {
  MutexLock lock(mutex_);
  if (session != id_) return std::nullopt;
  return holder_.BeginRequest(connection, CondVar::Clock::now());
}

void WriteSession::EndRequest(uint64_t turn) {
  MutexLock lock(mutex_);
  holder_.EndRequest(turn, CondVar::Clock::now());
}

}  // namespace tandem::replica
