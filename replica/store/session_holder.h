// Decides which source may write a volume: one run of one source at a time. Two sources with the
// same identity (a cloned machine, a copied state directory) are told apart by their run ids. The
// second is refused as long as the first is there: if they took turns, each would undo the other's
// work.
//
// The holder counts as gone if nothing has been heard of it for kHolderSilence, or as soon as its
// connection is closed, so that a source that was killed and started again gets in at once. But if
// both have been seen alive, a closed connection may be a network failure: then only silence
// counts.
//
// A run is that of one identity (rights.h): another identity that names the same run is another
// source, as the id of a run is no secret.
//
// Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "meta/base/mutex.h"
#include "replica/store/tuning.h"
#include "replica/transport/connection.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class SessionHolder {
 public:
  using Time = CondVar::Clock::time_point;

  // Returns whether another source is there, so that this one must wait.
  bool Refuses(const Hello& hello, Time now, const std::string& peer = {});
  // Makes this source the holder. Requires that it is not refused. `connection` is null if unknown.
  void Take(const Hello& hello, ConnectionRef connection, Time now, const std::string& peer = {});
  // The holder has sent a request, and counts as there until it is answered. Pass what BeginRequest
  // has returned to EndRequest, even if the holder is another by then.
  uint64_t BeginRequest(ConnectionRef connection, Time now);
  void EndRequest(uint64_t turn, Time now);
  // Returns whether the connection of its last request is open.
  bool IsConnected() const { return connection_ != nullptr && connection_->open(); }
  // Returns host:path of the holder, as it says.
  const std::string& source() const { return source_; }

 private:
  struct Refused {
    RunId run;
    std::string source;
    std::string peer;
    Time since;
    bool Is(const Hello& hello, const std::string& who) const;
  };

  bool IsHolder(const Hello& hello, const std::string& peer) const;

  bool taken_ = false;
  RunId run_;
  std::string source_;
  std::string peer_;  // its identity
  ConnectionRef connection_;
  uint64_t turn_ = 0;            // counts calls of Take
  Time asked_{};                 // when it last began a request
  Time heard_{};                 // or was answered
  int requests_ = 0;             // under way
  std::deque<Refused> refused_;  // by this holder
};

}  // namespace tandem::replica
