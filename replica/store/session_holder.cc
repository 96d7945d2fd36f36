#include "replica/store/session_holder.h"

#include <algorithm>
#include <utility>

#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

// Sources of versions without run ids are told apart by their host:path.
bool IsSame(const RunId& run, const std::string& source, const Hello& hello) {
  if (run.is_null() || hello.run.is_null()) return source == hello.source;
  return run == hello.run;
}

}  // namespace

bool SessionHolder::Refused::Is(const Hello& hello, const std::string& who) const {
  return peer == who && IsSame(run, source, hello);
}

bool SessionHolder::IsHolder(const Hello& hello, const std::string& peer) const {
  return peer_ == peer && IsSame(run_, source_, hello);
}

bool SessionHolder::Refuses(const Hello& hello, Time now, const std::string& peer) {
  if (!taken_ || IsHolder(hello, peer) || (requests_ == 0 && now - heard_ >= kHolderSilence)) {
    return false;
  }
  const auto known =
      std::ranges::find_if(refused_, [&](const Refused& one) { return one.Is(hello, peer); });
  const bool both_seen_alive = known != refused_.end() && asked_ > known->since + kHolderUnderWay;
  if (connection_ != nullptr && !IsConnected() && !both_seen_alive) return false;
  if (known == refused_.end()) {
    refused_.push_back({hello.run, hello.source, peer, now});
    if (refused_.size() > kMaxRefusedSources) refused_.pop_front();
  }
  return true;
}

void SessionHolder::Take(const Hello& hello, ConnectionRef connection, Time now,
                         const std::string& peer) {
  if (!taken_ || !IsHolder(hello, peer)) refused_.clear();
  taken_ = true;
  run_ = hello.run;
  source_ = hello.source;
  peer_ = peer;
  connection_ = std::move(connection);
  ++turn_;
  asked_ = heard_ = now;
  requests_ = 0;
}

uint64_t SessionHolder::BeginRequest(ConnectionRef connection, Time now) {
  connection_ = std::move(connection);
  asked_ = heard_ = now;
  ++requests_;
  return turn_;
}

void SessionHolder::EndRequest(uint64_t turn, Time now) {
  if (turn != turn_) return;
  heard_ = now;
  --requests_;
}

}  // namespace tandem::replica
