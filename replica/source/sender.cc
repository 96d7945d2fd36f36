#include "replica/source/sender.h"

#include <algorithm>

#include "meta/base/log.h"
#include "meta/change/epoch_limit.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Grip = Retention::Grip;

}  // namespace

Sender::Sender(Options options, meta::Tracker& tracker, const meta::SourceTree& tree,
               Retention& retention, OnApplied on_applied)
    : options_(std::move(options)),
      tracker_(tracker),
      tree_(tree),
      retention_(retention),
      on_applied_(std::move(on_applied)),
      control_(options_.paused),
      interval_(options_.interval),
      view_(options_.name, options_.last_applied, tracker),
      tasks_([&tracker] { tracker.WakeAll(); }),
      debt_{options_.reconcile_owed, options_.compare_after} {
  // Holds until the replica says where it is. Its last cut may be newer than the one written down,
  // and after an unclean end what the tables suspect is known from nowhere else.
  if (debt_.owed || options_.last_applied.epoch != Epoch()) {
    const bool known = !debt_.owed && tracker_.Knows(options_.last_applied);
    // A sender before this one may have sent cuts that the replica has committed since.
    if (!retention_.Holds(options_.name))
      retention_.Hold(options_.name, known ? options_.last_applied.epoch : Epoch());
  }
  // A session may have ended with its connection.
  auto peer = Peer::Dial(options_.url, options_.find_credentials, [this] {
    control_.Wake();
    tracker_.WakeAll();
  });
  if (!peer) {
    SetState(ReplicaState::kBlocked, peer.error().ToString());
    return;
  }
  peer_ = std::move(*peer);
  limit_.Set(options_.bandwidth);
  limit_.SetPaused(options_.paused);
  peer_->SetLimit(&limit_);
  thread_ = std::thread([this] { Run(); });
}

Sender::~Sender() { End(); }

void Sender::End() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void Sender::Stop() {
  control_.Stop();
  limit_.Stop();
  if (peer_ != nullptr) peer_->Close();
  tracker_.WakeAll();
  view_.Stop();
  tasks_.Stop();
}

void Sender::Reconnect() {
  if (peer_ != nullptr) peer_->Reconnect();
}

void Sender::SetPaused(bool paused) {
  control_.SetPaused(paused);
  limit_.SetPaused(paused);
  tracker_.WakeAll();
}

ReplicaView::Inquiry Sender::Inquire() {
  // Without a connection the request goes over the next, and if that breaks, over another: then it
  // is not known which of them answered.
  const uint64_t connection = peer_->connection();
  return view_.Inquire(connection != 0 ? connection : peer_->connections() + 1);
}

void Sender::SetPosition(const Position& position, const ReplicaView::Inquiry& inquiry) {
  view_.SetPosition(position, RealCut(position.applied), inquiry);
}

void Sender::Run() {
  milliseconds back_off = kBackOffFirst;
  while (!control_.stopping()) {
    const auto begun = CondVar::Clock::now();
    const uint64_t answered = progress_.answered_bytes;
    got_through_ = false;
    const Status status = Converse(*peer_);
    if (control_.stopping()) return;
    const Error& error = status.error();
    if (error.kind() == ErrorKind::kCancelled) continue;  // paused in mid-walk
    if (error.kind() == ErrorKind::kGivenUp) {
      LogInfo("replica {}: {}; trying again", options_.name, error.ToString());
    } else {
      const bool unreachable = error.kind() == ErrorKind::kUnreachable;
      const std::string found = unreachable && peer_->connection() == 0 ? peer_->Trouble() : "";
      trouble_ = unreachable ? "" : error.ToString();
      SetState(unreachable ? ReplicaState::kConnecting : ReplicaState::kBlocked,
               found.empty() ? error.ToString() : found);
    }
    const bool moved = got_through_ || progress_.answered_bytes - answered >= kSessionGotOn;
    const bool got_on = (error.kind() == ErrorKind::kUnreachable && moved) ||
                        CondVar::Clock::now() - begun > kBackOffLongest;
    if (got_on) back_off = kBackOffFirst;
    control_.Sleep(back_off);
    back_off = std::min(back_off * 2, kBackOffLongest);
  }
}

// Holds one session until something goes wrong. Always returns an error.
Status Sender::Converse(Peer& peer) {
  Hello hello;
  hello.volume_name = options_.volume_name;
  hello.volume = options_.volume;
  hello.source = options_.source;
  hello.run = options_.run;
  const ReplicaView::Inquiry inquiry = Inquire();
  ASSIGN_OR_RETURN(Position position, peer.Open(hello));
  view_.SetInStep(false);
  known_.Forget();
  stage_is_left_ = true;
  RETURN_IF_ERROR(CheckClaim(position));
  SetPosition(position, inquiry);
  view_.short_debts().TryAllAgain();
  HoldAfter(position.durable);
  if (position.applied != position.durable) {
    SetGoingOn(increments_ ? ReplicaState::kCatchingUp : ReplicaState::kReconciling);
    RETURN_IF_ERROR(AwaitApplied(peer, position, position.durable));
    HoldAfter(position.applied);
  }
  if (increments_ && RealCut(position.applied) == position.applied) {
    view_.SetInStep(true);
    on_applied_(position.durable, position.applied, !debt_.uncompared.empty());
    SetGoingOn(view_.StateAfter(position.applied.epoch));
  }
  while (!control_.stopping()) RETURN_IF_ERROR(Step(peer, position));
  return MakeError(ErrorKind::kCancelled, "stopping");
}

// Cuts are numbered above what the replica claims (Tracker::AdvanceBeyond), for all replicas, so
// the number must leave room for more.
Status Sender::CheckClaim(const Position& position) {
  const Epoch claim = std::max(position.durable.epoch, position.applied.epoch);
  if (claim <= std::max(meta::NewestPlausible(), tracker_.open_epoch())) return {};
  return MakeError(ErrorKind::kProtocol,
                   "replica " + options_.name + " at " + options_.url + " claims to hold cut " +
                       std::to_string(claim.number()) +
                       ", which no source can have reached by now, and is not believed: look at "
                       "what answers there and at this host's clock, or move the volume away there "
                       "to begin anew");
}

// If both sides know the cut, and everything that came after it is known, the increment is exact.
// Otherwise the replica has to be reconciled, and until that is done nothing is dropped: what a
// crash has made suspect shows in no attribute, and another crash must find it again. The hold
// comes before the question, so that nothing is dropped in between.
void Sender::HoldAfter(const CutName& reached) {
  const CutName cut = RealCut(reached);
  // The hold was released: what was suspect or lacking is no longer known.
  if (!retention_.Holds(options_.name)) {
    debt_.owed = debt_.owed || LacksSomething();
    debt_.compare_after = Epoch();
  }
  increments_ = false;
  if (!debt_.owed && cut.epoch != Epoch()) {
    retention_.Hold(options_.name, cut.epoch);
    increments_ = tracker_.Knows(cut);
  }
  if (!increments_) retention_.Hold(options_.name, Epoch());
}

Status Sender::Step(Peer& peer, Position& position) {
  // Before it is looked for what is to be done: a task or a question that comes afterwards, or
  // came while a cut was shipped, is not waited past.
  const uint64_t wakes = tracker_.wakes();
  PerformTasks(peer, position);
  if (control_.paused()) {
    SetState(ReplicaState::kPaused, increments_ && !KnowsChanges()
                                        ? "so much has changed meanwhile that its whole tree "
                                          "will be compared"
                                        : "");
    tracker_.WaitForWake(NextHeartbeat(), wakes);
    return CheckStillThere(peer, position);
  }
  if (increments_ && !KnowsChanges())
    return MakeError(ErrorKind::kCancelled,
                     "its changes are no longer remembered one by one: its tree is compared");
  if (increments_) {
    auto until = NextHeartbeat();
    if (const auto due = view_.short_debts().NextDue()) until = std::min(until, *due);
    const bool changes = tracker_.WaitForChanges(RealCut(position.applied).epoch, until, wakes);
    if (!control_.may_go_on()) return {};
    if (!changes) trouble_.clear();
    SetGoingOn(changes ? view_.StateAfter(position.applied.epoch) : ReplicaState::kCurrent);
    if (!changes && !IsShortObjectDue()) return CheckStillThere(peer, position);
  }
  const auto earliest = last_cut_ + Interval();
  if (CondVar::Clock::now() < earliest) {
    tracker_.WaitForWake(std::min(earliest, NextHeartbeat()), wakes);
    if (CondVar::Clock::now() < earliest) return CheckStillThere(peer, position);
  }
  return Ship(peer, position);
}

milliseconds Sender::Interval() const {
  const bool programs_sync = tracker_.program_synced() > last_cut_;
  const milliseconds interval = interval_;
  return programs_sync ? kSlowerBesideSyncs * interval : interval;
}

CondVar::Clock::time_point Sender::NextHeartbeat() {
  const auto heard = view_.AnsweredAt(peer_->connection());
  if (!heard) return CondVar::Clock::time_point();
  return *heard + (peer_->TakesIncrements() ? kHeartbeat : kHeartbeatOfOld);
}

bool Sender::IsHeartbeatDue() {
  const auto next = NextHeartbeat();
  return next <= CondVar::Clock::now();
}

void Sender::PerformTasks(Peer& peer, const Position& position) {
  tasks_.PerformAll([&](const Task& task) -> Status {
    const bool at_a_cut = RealCut(position.applied) == position.applied;
    if (!increments_ || !at_a_cut || !retention_.Regrip(options_.name, Grip::kFirm)) {
      return MakeError(ErrorKind::kUnreachable, "replica " + options_.name +
                                                    " is not in step yet: wait for it "
                                                    "(tandem status)");
    }
    Status status = task(peer, position);
    retention_.Regrip(options_.name, Grip::kLoose);
    return status;
  });
}

Status Sender::CheckStillThere(Peer& peer, Position& position) {
  if (!IsHeartbeatDue()) return {};
  const ReplicaView::Inquiry inquiry = Inquire();
  ASSIGN_OR_RETURN(Position now, peer.AskFor<Position>(WaitApplied{position.applied, 0}));
  // Only this sender moves the replica on.
  if (now.durable != position.durable) {
    return MakeError(ErrorKind::kUnreachable,
                     "the replica is at another cut than was thought: asking it where it is");
  }
  RETURN_IF_ERROR(CheckClaim(now));
  position = std::move(now);
  SetPosition(position, inquiry);
  return {};
}

}  // namespace tandem::replica
