#include "replica/sender.h"

#include <algorithm>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "replica/cut_shipper.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Grip = Retention::Grip;

constexpr milliseconds kBackOffFirst{100};
constexpr milliseconds kBackOffLongest{5000};
constexpr milliseconds kIdleWait{500};
// An idle replica is asked this often whether it is still there.
constexpr milliseconds kHeartbeat{2000};
constexpr uint32_t kAppliedPollMs = 1000;
// More than this is pre-copied: shipped from one cut, and the stage committed with a later, smaller
// one.
constexpr uint64_t kPreCopyAbove = 64 << 20;
constexpr int kMaxRounds = 8;
// A clock that ticks slowly may tick once in so many cuts.
constexpr uint64_t kCutsInATick = 2;
constexpr int kMaxCommitTries = 16;
// A replica that is connected and no further behind than this is current.
constexpr double kCurrentLagSeconds = 3;

double SecondsSince(int64_t boot_time_ns) {
  return std::max(0.0, static_cast<double>(meta::BootTimeNs() - boot_time_ns) / 1e9);
}

std::string WhatLacks(const meta::ObjectChange& change) {
  if (change.whole) return "";
  if (change.listing) return "names in ";
  if (!change.data.empty()) return std::to_string(change.data.TotalBytes()) + " bytes of ";
  return "attributes of ";
}

}  // namespace

const char* NameOf(ReplicaState state) {
  switch (state) {
    case ReplicaState::kConnecting:
      return "connecting";
    case ReplicaState::kSeeding:
      return "seeding";
    case ReplicaState::kReconciling:
      return "reconciling";
    case ReplicaState::kCurrent:
      return "current";
    case ReplicaState::kCatchingUp:
      return "catching-up";
    case ReplicaState::kPaused:
      return "paused";
    case ReplicaState::kBlocked:
      return "blocked";
  }
  return "connecting";
}

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
      applied_(options_.last_applied) {
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
  MutexLock lock(mutex_);
  if (state != state_ || error != error_) {
    spdlog::info("replica {}: {}{}{}", options_.name, NameOf(state), error.empty() ? "" : ": ",
                 error);
  }
  state_ = state;
  error_ = std::move(error);
}

void Sender::SetInStep(bool in_step) {
  MutexLock lock(mutex_);
  in_step_ = in_step;
  changed_.NotifyAll();
}

Sender::Inquiry Sender::Inquire() {
  MutexLock lock(mutex_);
  return {asks_, peer_->connection()};
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
    notice_ = position.notice;
    changed_.NotifyAll();
  }
  last_heard_ = CondVar::Clock::now();
}

ReplicaStatus Sender::status() {
  ReplicaStatus status;
  bool in_step = false;
  uint64_t heard_connection = 0;
  {
    MutexLock lock(mutex_);
    in_step = in_step_;
    heard_connection = heard_.connection;
    status.name = options_.name;
    status.url = options_.url;
    status.state = state_;
    status.durable = durable_;
    status.applied = applied_;
    status.error = error_;
    status.notice = notice_;
    if (!lacking_.empty()) {
      if (status.state == ReplicaState::kCurrent) status.state = ReplicaState::kCatchingUp;
      if (status.error.empty()) status.error = lacking_.begin()->second;
      if (lacking_.size() > 1) {
        status.error += " (and " + std::to_string(lacking_.size() - 1) + " others)";
      }
    }
  }
  if (peer_ != nullptr) {
    status.sent_bytes = peer_->sent_bytes();
    status.received_bytes = peer_->received_bytes();
    // The thread may still be waiting for an answer that will not come.
    const bool talks =
        status.state != ReplicaState::kPaused && status.state != ReplicaState::kBlocked;
    // What answers on another connection may be another run of the daemon, with another store.
    const uint64_t connection = peer_->connection();
    const bool believed = status.state != ReplicaState::kCurrent || connection == heard_connection;
    if (talks && (connection == 0 || !believed)) status.state = ReplicaState::kConnecting;
  }
  if (!in_step || !tracker_.Knows(status.applied)) {
    // Never in step in this run: all that can be said is that it is at least that far behind.
    status.lag_seconds = SecondsSince(started_ns_);
  }
  if (const auto oldest = tracker_.OldestChangeAfter(status.applied.epoch)) {
    status.lag_seconds = std::max(status.lag_seconds, SecondsSince(*oldest));
  }
  if (status.state == ReplicaState::kConnecting && status.error.empty()) {
    status.error =
        "waiting for an answer from " + status.url + " (is tandemd running there, and reachable?)";
  }
  const bool walking =
      status.state == ReplicaState::kSeeding || status.state == ReplicaState::kReconciling;
  if (walking) {
    status.objects_walked = progress_.objects;
    status.bytes_walked = progress_.content_bytes;
  }
  if (status.state == ReplicaState::kCurrent && status.lag_seconds > kCurrentLagSeconds) {
    status.state = ReplicaState::kCatchingUp;
  }
  return status;
}

Epoch Sender::applied() {
  MutexLock lock(mutex_);
  return in_step_ && tracker_.Knows(applied_) ? applied_.epoch : Epoch();
}

bool Sender::WaitUntilApplied(Epoch epoch, CondVar::Clock::time_point deadline) {
  uint64_t ask = 0;
  {
    MutexLock lock(mutex_);
    ask = ++asks_;
    woken_.NotifyAll();
  }
  tracker_.WakeAll();
  MutexLock lock(mutex_);
  while (!stopping_) {
    const bool whole = in_step_ && heard_.asks >= ask && lacking_.empty();
    if (whole && applied_.epoch >= epoch && tracker_.Knows(applied_)) return true;
    if (!changed_.WaitUntil(mutex_, deadline)) return false;
  }
  return false;
}

Status Sender::RunTask(Task task, CondVar::Clock::time_point deadline) {
  auto queued = std::make_shared<QueuedTask>();
  queued->task = std::move(task);
  {
    MutexLock lock(mutex_);
    tasks_.push_back(queued);
  }
  tracker_.WakeAll();
  MutexLock lock(mutex_);
  while (!queued->finished && !stopping_) {
    const bool in_time = changed_.WaitUntil(mutex_, deadline);
    if (!in_time && !queued->started) {
      std::erase(tasks_, queued);
      return MakeError(ErrorKind::kUnreachable, "replica " + options_.name + " at " + options_.url +
                                                    " is " + NameOf(state_) +
                                                    (error_.empty() ? "" : ": " + error_));
    }
    if (!in_time) deadline += std::chrono::seconds(1);  // it is running: wait for its end
  }
  if (!queued->finished) return MakeError(ErrorKind::kCancelled, "stopping");
  return std::move(queued->status);
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
      spdlog::info("replica {}: {}; trying again", options_.name, error.ToString());
    } else {
      const bool unreachable = error.kind() == ErrorKind::kUnreachable;
      SetState(unreachable ? ReplicaState::kConnecting : ReplicaState::kBlocked, error.ToString());
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
  const Inquiry inquiry = Inquire();
  ASSIGN_OR_RETURN(Position position, peer.Open(hello));
  SetInStep(false);
  SetPosition(position, inquiry);
  HoldAfter(position.durable);
  if (position.applied != position.durable) {
    RETURN_IF_ERROR(AwaitApplied(peer, position, position.durable));
  }
  if (increments_) {
    SetInStep(true);
    on_applied_(position.durable, position.applied, !uncompared_.empty());
    SetState(ReplicaState::kCurrent, "");
  }
  while (!stopping_) RETURN_IF_ERROR(Step(peer, position));
  return MakeError(ErrorKind::kCancelled, "stopping");
}

// Both sides know the cut, and we know all that came after: the increment is exact. Otherwise the
// replica has to be reconciled, and until that is done nothing at all is dropped: what a crash has
// made suspect stands in no attribute, and another crash must find it again. First hold, then ask,
// so that nothing is dropped in between.
void Sender::HoldAfter(const CutName& cut) {
  // Let go, and nobody knows any more what was suspect.
  if (reconcile_owed_ && !retention_.Holds(options_.name)) compare_after_ = Epoch();
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
  if (increments_ && !KnowsChanges()) return MakeError(ErrorKind::kCancelled, "it was let go");
  if (increments_) {
    const auto deadline = CondVar::Clock::now() + kIdleWait;
    const bool changes = tracker_.WaitForChanges(position.applied.epoch, deadline);
    if (paused() || stopping_) return {};
    SetState(ReplicaState::kCurrent, "");
    if (!changes) return CheckStillThere(peer, position);
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
    if (increments_ && retention_.Regrip(options_.name, Grip::kFirm)) {
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
  ASSIGN_OR_RETURN(position, peer.AskFor<Position>(WaitApplied{position.applied, 0}));
  SetPosition(position, inquiry);
  return {};
}

Status Sender::Ship(Peer& peer, Position& position) {
  if (!increments_) {
    progress_.objects = 0;
    progress_.content_bytes = 0;
    SetState(position.empty ? ReplicaState::kSeeding : ReplicaState::kReconciling, "");
  }
  ASSIGN_OR_RETURN(StageWriter stage, StageWriter::Begin(peer, position.durable));
  auto shipped = FillStage(peer, position, stage);
  if (!shipped) {
    // The basis of a delta was not what its signature said; literal bytes always do.
    deltas_ = shipped.error().kind() != ErrorKind::kGivenUp;
    return tl::unexpected<Error>(std::move(shipped.error()));
  }
  deltas_ = true;
  FAULT_POINT("source.ack.durable");
  RETURN_IF_ERROR(AwaitApplied(peer, position, *shipped));
  reconcile_owed_ = false;
  HoldAfter(position.applied);
  if (increments_) SetState(ReplicaState::kCurrent, "");
  SetInStep(increments_);
  on_applied_(position.durable, position.applied, !uncompared_.empty());
  FAULT_POINT("source.ack.applied");
  return {};
}

// Ships until the replica has made a cut durable; returns which. Rounds before the last are
// pre-copies: each ships what changed since the one before.
Result<CutName> Sender::FillStage(Peer& peer, const Position& position, StageWriter& stage) {
  ObjectShipper objects(peer, stage, progress_, deltas_ && !position.empty);
  // Without a debt everything the replica has can be told by its attributes, times included; but
  // what changed again within one tick of the clock, at its last cut.
  const uint64_t newest = position.durable.epoch.number();
  const Epoch compare_after =
      reconcile_owed_ ? compare_after_ : Epoch(newest - std::min(newest, kCutsInATick));
  Walker walker(tree_, peer, stage, objects, {position.empty, compare_after}, uncompared_,
                [this] { return !stopping_ && !paused(); });
  CutShipper cuts(tree_, stage, objects, walker);
  Epoch after = position.durable.epoch;
  if (!increments_) {
    // Everything after this cut is captured and follows; what was before stands in the tree.
    RETURN_IF_ERROR(tracker_.AdvanceBeyond(position.durable.epoch));
    retention_.Regrip(options_.name, Grip::kFirm);
    ASSIGN_OR_RETURN(const auto start, tracker_.TakeCut(Epoch(), meta::Tracker::CutMode::kFresh));
    start->GiveUp();  // the walk is of no one moment anyway
    after = start->cut().name.epoch;
    RETURN_IF_ERROR(walker.WalkDirectory(tree_.root(), WalkDepth::kAll));
    // What is known to have changed shows in no attribute if a power cut took those back.
    if (!position.empty) RETURN_IF_ERROR(cuts.Ship(start));
  }
  int tries = 0;
  for (int round = 1;; ++round) {
    if (stopping_ || paused()) return MakeError(ErrorKind::kCancelled, "fill a stage: stopping");
    if (increments_ && round == kMaxRounds) {
      SetState(ReplicaState::kCatchingUp,
               "changes come about as fast as they can be carried: the "
               "replica stays at its cut until they slow down");
    }
    const std::vector<ObjectId> tried_again = TriedAgain();
    ASSIGN_OR_RETURN(const auto cut, tracker_.TakeCut(after));
    if (!retention_.Holds(options_.name)) {
      increments_ = false;
      return MakeError(ErrorKind::kCancelled, "more has changed than is remembered");
    }
    last_cut_ = CondVar::Clock::now();
    if (EstimateBytes(*cut) > kPreCopyAbove && round < kMaxRounds) {
      cut->GiveUp();  // nothing needs to be kept for a pre-copy
      if (increments_ && round == 1) {
        ASSIGN_OR_RETURN(const uint64_t bytes, MeasureBytes(*cut, tree_));
        RETURN_IF_ERROR(stage.Expect(bytes));
      }
    }
    ASSIGN_OR_RETURN(const bool walked, cuts.Ship(cut));
    {
      MutexLock lock(mutex_);
      for (const ObjectId& object : tried_again) {
        if (cut->changes().Find(object) != nullptr) lacking_.erase(object);
      }
    }
    after = cut->cut().name.epoch;
    if (!cut->Finish() || walked) {
      RETURN_IF_ERROR(stage.Flush());
      continue;
    }
    RETURN_IF_ERROR(DeferUnreadable(cut->cut().name, objects));
    ASSIGN_OR_RETURN(const Reply reply, stage.Commit(cut->cut().name, cut->cut().wall_time_ns));
    if (reply.code != ReplyCode::kMissingObjects) {
      RETURN_IF_ERROR(Peer::ToStatus(reply));
      return cut->cut().name;
    }
    if (++tries > kMaxCommitTries) {
      // It lacks what neither the cuts nor the tree can explain: look at everything.
      increments_ = false;
      return tl::unexpected<Error>(Peer::ToStatus(reply).error());
    }
    RETURN_IF_ERROR(cuts.ShipMissing(reply.missing));
  }
}

// What the replica lacks, and the next cut has.
std::vector<ObjectId> Sender::TriedAgain() {
  std::vector<ObjectId> lacking;
  {
    MutexLock lock(mutex_);
    for (const auto& [object, text] : lacking_) lacking.push_back(object);
  }
  std::erase_if(lacking, [this](const ObjectId& object) { return tracker_.IsDeferred(object); });
  return lacking;
}

// The cut goes without what the disk does not give, and says so; unless it gives nothing at all.
Status Sender::DeferUnreadable(const CutName& cut, ObjectShipper& objects) {
  const std::vector<ObjectShipper::Unreadable> unreadable = objects.TakeUnreadable();
  if (unreadable.empty()) return {};
  RETURN_IF_ERROR(tree_.Sync());
  for (const auto& [object, change, why] : unreadable) {
    RETURN_IF_ERROR(tracker_.Defer(object, change));
    const std::string text = "cut " + std::to_string(cut.epoch.number()) + " lacks " +
                             WhatLacks(change) + tree_.PathOf(object) +
                             ", tried again every few seconds: " + why;
    spdlog::error("replica {}: {}", options_.name, text);
    MutexLock lock(mutex_);
    lacking_[object.id] = text;
  }
  return {};
}

Status Sender::AwaitApplied(Peer& peer, Position& position, const CutName& cut) {
  while (true) {
    const Inquiry inquiry = Inquire();
    ASSIGN_OR_RETURN(Reply reply, peer.Ask(replica::WaitApplied{cut, kAppliedPollMs}));
    if (stopping_) return MakeError(ErrorKind::kCancelled, "stopping");
    if (reply.code == ReplyCode::kNoSpace || reply.code == ReplyCode::kIoError) {
      // The cut is safe there; it is applied when the trouble is over.
      SetState(ReplicaState::kBlocked, reply.message);
      WaitUnlessWoken(milliseconds(kAppliedPollMs));
      continue;
    }
    if (reply.code == ReplyCode::kBusy) continue;
    RETURN_IF_ERROR(Peer::ToStatus(reply));
    auto* answer = std::get_if<Position>(&reply.body);
    if (answer == nullptr) {
      return MakeError(ErrorKind::kProtocol, "wait for apply: answer of another kind");
    }
    answer->session = position.session;
    position = std::move(*answer);
    // First this: who waits for the position reads the state next.
    if (position.applied == cut && increments_) SetState(ReplicaState::kCurrent, "");
    SetPosition(position, inquiry);
    if (position.applied == cut) return {};
  }
}

}  // namespace tandem::replica
