// Who may write a volume: the id of the session that is open, and the source that holds it
// (session_holder.h).
//
// Any thread. The id changes only with the lock of the volume's ApplyQueue held (Open and Renew are
// called by it alone), so that a Position names the session and the cuts of one instant. Takes no
// other lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "meta/base/mutex.h"
#include "replica/store/session_holder.h"
#include "replica/transport/connection.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class WriteSession {
 public:
  // `volume`: its name, for people.
  explicit WriteSession(std::string volume) : volume_(std::move(volume)) {}

  // `peer`: the identity that says Hello (rights.h).
  // Returns the refusal of a Hello if another source is there; nullopt if it may open a session.
  std::optional<Reply> RefuseSecond(const Hello& hello, const std::string& peer = {})
      EXCLUDES(mutex_);
  // Opens a session for a source that RefuseSecond has let in; the one before ends.
  void Open(const Hello& hello, const ConnectionRef& connection, const std::string& peer = {})
      EXCLUDES(mutex_);
  // Ends the session: its source has to say Hello again. Others are refused as before.
  void Renew() EXCLUDES(mutex_);

  SessionId id() EXCLUDES(mutex_);
  // Returns whether the connection over which the source was heard last is open.
  bool IsConnected() EXCLUDES(mutex_);
  // Notes that a request begins. Returns what EndRequest takes, or nullopt if `session` has ended.
  std::optional<uint64_t> BeginRequest(SessionId session, const ConnectionRef& connection)
      EXCLUDES(mutex_);
  void EndRequest(uint64_t turn) EXCLUDES(mutex_);

 private:
  const std::string volume_;
  Mutex mutex_;
  SessionId id_ GUARDED_BY(mutex_);
  SessionHolder holder_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
