#include "replica/source/sender.h"

#include <algorithm>

#include "meta/base/log.h"
#include "meta/epoch_limit.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Grip = Retention::Grip;

constexpr milliseconds kBackOffFirst{100};
constexpr milliseconds kBackOffLongest{5000};
constexpr milliseconds kIdleWait{500};
// An idle replica is asked this often whether it is still there.
constexpr milliseconds kHeartbeat{2000};

}  // namespace

Sender::Sender(Options options, meta::Tracker& tracker, const meta::SourceTree& tree,
               Retention& retention, OnApplied on_applied)
    : options_(std::move(options)),
      tracker_(tracker),
      tree_(tree),
      retention_(retention),
      on_applied_(std::move(on_applied)),
      started_ns_(meta::BootTimeNs()),
      reconcile_owed_(options_.reconcile_owed),
      compare_after_(options_.compare_after),
      paused_(options_.paused),
      applied_(options_.last_applied),
      behind_since_(options_.last_applied) {
  // Until the replica says where it is. Its last cut may be a newer one than is written down, and
  // after an unclean end what the tables suspect shows nowhere else.
  if (reconcile_owed_ || options_.last_applied.epoch != Epoch()) {
    const bool known = !reconcile_owed_ && tracker_.Knows(options_.last_applied);
    retention_.Hold(options_.name, known ? options_.last_applied.epoch : Epoch());
  }
  auto peer = Peer::Dial(options_.url);
  if (!peer) {
    MutexLock lock(mutex_);
    state_ = ReplicaState::kBlocked;
    error_ = peer.error().ToString();
    return;
  }
  peer_ = std::move(*peer);
  watch_ = std::make_unique<LinkWatch>(options_.name, *peer_);
  thread_ = std::thread([this] { Run(); });
}

Sender::~Sender() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void Sender::Stop() {
  stopping_ = true;
  if (peer_ != nullptr) peer_->Close();
  tracker_.WakeAll();
  MutexLock lock(mutex_);
  woken_.NotifyAll();
  changed_.NotifyAll();
}

void Sender::SetPaused(bool paused) {
  {
    MutexLock lock(mutex_);
    paused_ = paused;
    woken_.NotifyAll();
  }
  tracker_.WakeAll();
}

bool Sender::paused() {
  MutexLock lock(mutex_);
  return paused_;
}

void Sender::SetState(ReplicaState state, std::string error) {
  std::string text = NameOf(state) + (error.empty() ? "" : ": " + error);
  MutexLock lock(mutex_);
  if (text != logged_) LogInfo("replica {}: {}", options_.name, text);
  logged_ = std::move(text);
  state_ = state;
  error_ = std::move(error);
}

void Sender::SetGoingOn(ReplicaState state) {
  if (trouble_.empty()) return SetState(state, "");
  // Not logged: it may go wrong again at once, and again.
  MutexLock lock(mutex_);
  state_ = state == ReplicaState::kCurrent ? ReplicaState::kCatchingUp : state;
  error_ = "trying again after: " + trouble_;
}

void Sender::SetInStep(bool in_step) {
  MutexLock lock(mutex_);
  in_step_ = in_step;
  changed_.NotifyAll();
}

Sender::Inquiry Sender::Inquire() {
  MutexLock lock(mutex_);
  // Without one it goes over the next, and if that breaks, over another: then it is not known which
  // of them answered.
  const uint64_t connection = peer_->connection();
  return {asks_, connection != 0 ? connection : peer_->connections() + 1};
}

bool Sender::HeardLately() {
  MutexLock lock(mutex_);
  return heard_.asks == asks_ && heard_.connection == peer_->connection() &&
         heard_.connection != 0 && CondVar::Clock::now() - last_heard_ < kHeartbeat;
}

void Sender::SetPosition(const Position& position, const Inquiry& inquiry) {
  {
    MutexLock lock(mutex_);
    heard_ = inquiry;
    durable_ = position.durable;
    applied_ = position.applied;
    behind_since_ = RealCut(position.applied);
    notice_ = position.notice;
    short_debts_.Heard(position, CondVar::Clock::now());
    changed_.NotifyAll();
  }
  last_heard_ = CondVar::Clock::now();
}

bool Sender::WaitUnlessWoken(milliseconds time) {
  const auto deadline = CondVar::Clock::now() + time;
  MutexLock lock(mutex_);
  return !stopping_ && woken_.WaitUntil(mutex_, deadline);
}

void Sender::Run() {
  milliseconds back_off = kBackOffFirst;
  while (!stopping_) {
    const auto begun = CondVar::Clock::now();
    const Status status = Converse(*peer_);
    if (stopping_) return;
    const Error& error = status.error();
    if (error.kind() == ErrorKind::kCancelled) continue;  // paused in mid-walk
    if (error.kind() == ErrorKind::kGivenUp) {
      LogInfo("replica {}: {}; trying again", options_.name, error.ToString());
    } else {
      const bool unreachable = error.kind() == ErrorKind::kUnreachable;
      const std::string found = unreachable && peer_->connection() == 0 ? watch_->Trouble() : "";
      trouble_ = unreachable ? "" : error.ToString();
      SetState(unreachable ? ReplicaState::kConnecting : ReplicaState::kBlocked,
               found.empty() ? error.ToString() : found);
    }
    if (CondVar::Clock::now() - begun > kBackOffLongest) back_off = kBackOffFirst;
    WaitUnlessWoken(back_off);
    back_off = std::min(back_off * 2, kBackOffLongest);
  }
}

// One session, until something goes wrong: never returns without an error.
Status Sender::Converse(Peer& peer) {
  Hello hello;
  hello.volume_name = options_.volume_name;
  hello.volume = options_.volume;
  hello.source = options_.source;
  hello.run = options_.run;
  const Inquiry inquiry = Inquire();
  ASSIGN_OR_RETURN(Position position, peer.Open(hello));
  SetInStep(false);
  RETURN_IF_ERROR(CheckClaim(position));
  SetPosition(position, inquiry);
  {
    MutexLock lock(mutex_);
    short_debts_.TryAllAgain();
  }
  HoldAfter(position.durable);
  if (position.applied != position.durable) {
    SetGoingOn(increments_ ? ReplicaState::kCatchingUp : ReplicaState::kReconciling);
    RETURN_IF_ERROR(AwaitApplied(peer, position, position.durable));
    HoldAfter(position.applied);
  }
  if (increments_ && RealCut(position.applied) == position.applied) {
    SetInStep(true);
    on_applied_(position.durable, position.applied, !uncompared_.empty());
    SetGoingOn(StateAfter(position.applied.epoch));
  }
  while (!stopping_) RETURN_IF_ERROR(Step(peer, position));
  return MakeError(ErrorKind::kCancelled, "stopping");
}

// Cuts are numbered above what the replica claims (Tracker::AdvanceBeyond), for all replicas: it
// must be a number that leaves room.
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

// Both sides know the cut, and we know all that came after: the increment is exact. Otherwise the
// replica has to be reconciled, and until that is done nothing at all is dropped: what a crash has
// made suspect stands in no attribute, and another crash must find it again. First hold, then ask,
// so that nothing is dropped in between.
void Sender::HoldAfter(const CutName& reached) {
  const CutName cut = RealCut(reached);
  // Let go, and nobody knows any more what was suspect, or lacking.
  if (!retention_.Holds(options_.name)) {
    reconcile_owed_ = reconcile_owed_ || LacksSomething();
    compare_after_ = Epoch();
  }
  increments_ = false;
  if (!reconcile_owed_ && cut.epoch != Epoch()) {
    retention_.Hold(options_.name, cut.epoch);
    increments_ = tracker_.Knows(cut);
  }
  if (!increments_) retention_.Hold(options_.name, Epoch());
}

Status Sender::Step(Peer& peer, Position& position) {
  RETURN_IF_ERROR(RunTasks(peer, position));
  if (paused()) {
    SetState(ReplicaState::kPaused, increments_ && !KnowsChanges()
                                        ? "so much has changed meanwhile that its whole tree "
                                          "will be compared"
                                        : "");
    WaitUnlessWoken(kIdleWait);
    return CheckStillThere(peer, position);
  }
  if (increments_ && !KnowsChanges())
    return MakeError(ErrorKind::kCancelled,
                     "its changes are no longer remembered one by one: its tree is compared");
  if (increments_) {
    const auto deadline = CondVar::Clock::now() + kIdleWait;
    const bool changes = tracker_.WaitForChanges(RealCut(position.applied).epoch, deadline);
    if (paused() || stopping_) return {};
    if (!changes) trouble_.clear();
    SetGoingOn(changes ? StateAfter(position.applied.epoch) : ReplicaState::kCurrent);
    if (!changes && !IsShortObjectDue()) return CheckStillThere(peer, position);
  }
  const auto earliest = last_cut_ + options_.interval;
  while (!stopping_ && CondVar::Clock::now() < earliest) {
    WaitUnlessWoken(std::chrono::duration_cast<milliseconds>(earliest - CondVar::Clock::now()) +
                    milliseconds(1));
  }
  return Ship(peer, position);
}

Status Sender::RunTasks(Peer& peer, const Position& position) {
  while (true) {
    std::shared_ptr<QueuedTask> next;
    {
      MutexLock lock(mutex_);
      if (tasks_.empty()) return {};
      next = tasks_.front();
      tasks_.erase(tasks_.begin());
      next->started = true;
    }
    Status status;
    const bool at_a_cut = RealCut(position.applied) == position.applied;
    if (increments_ && at_a_cut && retention_.Regrip(options_.name, Grip::kFirm)) {
      status = next->task(peer, position);
      retention_.Regrip(options_.name, Grip::kLoose);
    } else {
      status = MakeError(ErrorKind::kUnreachable, "replica " + options_.name +
                                                      " is not in step yet: wait for it "
                                                      "(tandem status)");
    }
    MutexLock lock(mutex_);
    next->status = std::move(status);
    next->finished = true;
    changed_.NotifyAll();
  }
}

Status Sender::CheckStillThere(Peer& peer, Position& position) {
  if (HeardLately()) return {};
  const Inquiry inquiry = Inquire();
  ASSIGN_OR_RETURN(Position now, peer.AskFor<Position>(WaitApplied{position.applied, 0}));
  // Only we move it on.
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
