// Ships one change set: from a cut until the replica has applied it.
#include <algorithm>
#include <unordered_set>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "replica/source/cut_shipper.h"
#include "replica/source/sender.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Grip = Retention::Grip;

std::string WhatLacks(const meta::ObjectChange& change) {
  if (change.whole) return "";
  if (change.listing) return "names in ";
  if (!change.data.empty()) return std::to_string(change.data.TotalBytes()) + " bytes of ";
  return "attributes of ";
}

}  // namespace

Status Sender::Ship(Peer& peer, Position& position) {
  if (!increments_) {
    progress_.objects = 0;
    progress_.content_bytes = 0;
    SetGoingOn(position.empty ? ReplicaState::kSeeding : ReplicaState::kReconciling);
  }
  cut_progress_.Clear();
  view_.lacking().BeginStage();
  const LifeId life = resume_ ? options_.life : LifeId();
  const auto since = tracker_.AlteredSince();
  auto stage = std::exchange(stage_is_left_, true)
                   ? StageWriter::Begin(peer, progress_, position.durable, life, since)
                   : StageWriter::BeginLater(peer, progress_, position.durable, life, since);
  auto shipped = stage ? FillStage(peer, position, *stage)
                       : Result<Shipped>(tl::unexpected<Error>(stage.error()));
  if (!shipped) {
    cut_progress_.Clear();
    retention_.Regrip(options_.name, Grip::kLoose);
    // The basis of a delta was not what its signature said; literal bytes always do.
    if (shipped.error().kind() == ErrorKind::kGivenUp) deltas_ = false;
    // Nothing that was refused, or did not lead to a cut, is gone on with.
    resume_ = shipped.error().kind() == ErrorKind::kUnreachable ||
              shipped.error().kind() == ErrorKind::kCancelled;
    if (MeansNoRoom(shipped.error())) {
      has_room_ = false;
      ASSIGN_OR_RETURN(const bool made, MakeRoom(peer, position, shipped.error()));
      if (made) return {};
    }
    return tl::unexpected<Error>(std::move(shipped.error()));
  }
  deltas_ = resume_ = has_room_ = got_through_ = true;
  stage_is_left_ = false;
  trouble_.clear();
  FAULT_POINT("source.ack.durable");
  RETURN_IF_ERROR(
      TakePosition(position, std::move(shipped->position), shipped->cut, shipped->inquiry));
  if (position.applied != shipped->cut) {
    RETURN_IF_ERROR(AwaitApplied(peer, position, shipped->cut));
  }
  // What could not be read when everything was compared can be read now: compare it again.
  debt_.owed = Heal();
  if (debt_.owed) debt_.compare_after = debt_.walked_after;
  HoldAfter(position.applied);
  on_applied_(position.durable, position.applied, debt_.owed || !debt_.uncompared.empty());
  if (increments_) SetState(view_.StateAfter(position.applied.epoch), "");
  view_.SetInStep(increments_);
  FAULT_POINT("source.ack.applied");
  return {};
}

// Ships until the replica has made a cut durable, and returns that cut. Rounds before the last are
// pre-copies: each ships what has changed since the one before.
Result<Sender::Shipped> Sender::FillStage(Peer& peer, const Position& position,
                                          StageWriter& stage) {
  using Compare = ObjectShipper::Compare;
  const Compare compare = deltas_ ? Compare::kAll : Compare::kBlocks;
  known_.BeginStage();
  ObjectShipper objects(peer, stage, progress_, known_, position.empty ? Compare::kNot : compare,
                        position.largest_file);
  if (!has_room_) objects.WriteInPlace();
  // Without a debt, attributes (times included) tell whether the replica has an object's content;
  // but for what changed again within one tick of the clock, at its last cut.
  const CutName base = RealCut(position.durable);
  const uint64_t newest = base.epoch.number();
  Epoch compare_after =
      debt_.owed ? debt_.compare_after : Epoch(newest - std::min(newest, kCutsInATick));
  // A replica at no cut: not even its own database knows what it has.
  if (newest == 0) compare_after = Epoch();
  Walker walker(tree_, peer, stage, objects,
                {position.empty, compare_after, newest == 0 && !position.empty}, debt_.uncompared,
                [this] { return control_.may_go_on(); });
  CutShipper cuts(tree_, stage, objects, walker, cut_progress_);
  Epoch after = base.epoch;
  if (!increments_) {
    // Changes after this cut are captured and follow; those before it are in the tree.
    RETURN_IF_ERROR(tracker_.AdvanceBeyond(position.durable.epoch));
    if (!retention_.Regrip(options_.name, Grip::kFirm)) {
      return MakeError(ErrorKind::kCancelled, "more has changed than is remembered");
    }
    debt_.walked_after = compare_after;
    debt_.uncompared.clear();
    view_.lacking().StageAll();
    ASSIGN_OR_RETURN(const auto start, tracker_.TakeCut(Epoch(), meta::Tracker::CutMode::kFresh));
    start->GiveUp();  // the walk is of no one moment anyway
    after = start->cut().name.epoch;
    RETURN_IF_ERROR(walker.WalkDirectory(tree_.root(), WalkDepth::kAll));
    // A power cut may have taken back attributes of what is known to have changed.
    if (!position.empty) RETURN_IF_ERROR(cuts.Ship(start));
    cut_progress_.AllSent(after);
  }
  int tries = 0;  // to send what had been asked for before
  int commits = 0;
  std::unordered_set<ObjectId> asked_for;
  for (int round = 1;; ++round) {
    if (!control_.may_go_on()) return MakeError(ErrorKind::kCancelled, "fill a stage: stopping");
    if (increments_ && round == kMaxPreCopies) {
      SetState(ReplicaState::kCatchingUp,
               "changes come about as fast as they can be carried: the "
               "replica stays at its cut until they slow down");
    }
    // What falls short may be due although nothing has changed.
    const bool fresh = round == 1 && increments_ && IsShortObjectDue();
    ASSIGN_OR_RETURN(const auto cut, fresh ? tracker_.TakeCut(after, meta::Tracker::CutMode::kFresh)
                                           : tracker_.TakeCut(after));
    retention_.NoteCut(options_.name, cut->cut().name.epoch);
    if (!tracker_.Knows(cut->cut().name)) {
      return MakeError(ErrorKind::kCancelled, "the cut was forgotten before it was sent");
    }
    if (!retention_.Holds(options_.name)) {
      increments_ = false;
      return MakeError(ErrorKind::kCancelled, "more has changed than is remembered");
    }
    last_cut_ = CondVar::Clock::now();
    const meta::PendingCounts pending = cut_progress_.BeginCut(*cut);
    if (increments_ && round == 1) {
      SetGoingOn(view_.HowFarBehind(position.applied.epoch, pending.bytes));
    }
    if (EstimateBytes(*cut) > kPreCopyAbove && round < kMaxPreCopies) {
      cut->GiveUp();  // nothing needs to be kept for a pre-copy
      if (increments_ && round == 1) {
        ASSIGN_OR_RETURN(const uint64_t bytes, MeasureBytes(*cut, tree_, position.largest_file));
        RETURN_IF_ERROR(stage.Expect(bytes));
      }
    }
    ASSIGN_OR_RETURN(const bool walked, cuts.Ship(cut));
    view_.lacking().Stage(cut->changes());
    bool read_live = walked;
    if (round == 1 && increments_) {
      ASSIGN_OR_RETURN(const bool some,
                       ShipShortObjects(cut->changes(), position.largest_file, walker));
      read_live |= some;
    }
    after = cut->cut().name.epoch;
    if (!cut->Finish() || read_live) {
      RETURN_IF_ERROR(stage.Flush());
      continue;
    }
    RETURN_IF_ERROR(DeferUnreadable(cut->cut().name, objects));
    retention_.NoteCommit(options_.name);
    const ReplicaView::Inquiry inquiry = Inquire();
    ASSIGN_OR_RETURN(Reply reply, stage.Commit(cut->cut().name, cut->cut().wall_time_ns));
    if (reply.code != ReplyCode::kMissingObjects) {
      RETURN_IF_ERROR(Peer::ToStatus(reply));
      auto* said = std::get_if<Position>(&reply.body);
      if (said == nullptr) return MakeError(ErrorKind::kProtocol, "commit: answer of another kind");
      return Shipped{cut->cut().name, std::move(*said), inquiry};
    }
    bool again = reply.missing.empty();
    for (const ObjectId& object : reply.missing) again |= !asked_for.insert(object).second;
    if ((again && ++tries > kMaxCommitTries) || ++commits > kMaxCommits) {
      // Neither the cuts nor the tree explain what the replica lacks: compare everything.
      if (!debt_.owed) debt_.compare_after = kNewestEpoch;  // no content
      debt_.owed = true;
      const std::string first = reply.missing.empty() ? "" : " " + reply.missing.front().ToHex();
      return tl::unexpected<Error>(
          Peer::ToStatus(reply).error().Within("commit without object" + first));
    }
    const bool long_since = tries > kMaxCommitTries / 2;
    RETURN_IF_ERROR(cuts.ShipMissing(reply.missing, long_since
                                                        ? CutShipper::IfGone::kTakeNamesBack
                                                        : CutShipper::IfGone::kNextCutSaysSo));
  }
}

// Called when the replica has applied what was tried again. Returns true if some of that was not
// compared when everything was.
bool Sender::Heal() {
  bool uncompared = false;
  for (const ObjectId& object : view_.lacking().StageApplied())
    uncompared |= debt_.uncompared.contains(object);
  return uncompared;
}

// Lets the cut go without what could not be read, and reports that. Returns an error if the disk
// fails altogether.
Status Sender::DeferUnreadable(const CutName& cut, ObjectShipper& objects) {
  const std::vector<ObjectShipper::Unreadable> unreadable = objects.TakeUnreadable();
  if (unreadable.empty()) return {};
  RETURN_IF_ERROR(tree_.Sync());
  for (const auto& [object, change, why] : unreadable) {
    RETURN_IF_ERROR(tracker_.Defer(object, change));
    const std::string text = "cut " + std::to_string(cut.epoch.number()) + " lacks " +
                             WhatLacks(change) + tree_.PathOf(object) +
                             ", tried again every few seconds: " + why;
    LogError("replica {}: {}", options_.name, text);
    view_.lacking().NoteUnreadable(object.id, change, text);
  }
  return {};
}

Status Sender::AwaitApplied(Peer& peer, Position& position, CutName cut) {
  while (true) {
    const auto asked = CondVar::Clock::now();
    const ReplicaView::Inquiry inquiry = Inquire();
    ASSIGN_OR_RETURN(Reply reply, peer.Ask(replica::WaitApplied{
                                      cut, static_cast<uint32_t>(kAppliedPoll.count())}));
    if (control_.stopping()) return MakeError(ErrorKind::kCancelled, "stopping");
    if (reply.code == ReplyCode::kNoSpace || reply.code == ReplyCode::kIoError) {
      // The cut is safe there; it is applied when the trouble is over.
      SetState(ReplicaState::kBlocked, reply.message);
      if (reply.code == ReplyCode::kNoSpace) {
        if (const auto next = ShipOnTop(peer, cut, position.largest_file)) {
          cut = *next;
          continue;
        }
      }
      control_.Sleep(kAppliedPoll);
      continue;
    }
    if (reply.code == ReplyCode::kBusy) {
      control_.Sleep(kAppliedPause);
      continue;
    }
    RETURN_IF_ERROR(Peer::ToStatus(reply));
    auto* answer = std::get_if<Position>(&reply.body);
    if (answer == nullptr) {
      return MakeError(ErrorKind::kProtocol, "wait for apply: answer of another kind");
    }
    RETURN_IF_ERROR(TakePosition(position, std::move(*answer), cut, inquiry));
    if (position.applied == cut) return {};
    if (CondVar::Clock::now() - asked < kAppliedPause) control_.Sleep(kAppliedPause);
  }
}

Status Sender::TakePosition(Position& position, Position said, const CutName& cut,
                            const ReplicaView::Inquiry& inquiry) {
  said.session = position.session;
  position = std::move(said);
  if (position.durable != cut) {
    return MakeError(ErrorKind::kUnreachable,
                     "the replica is at another cut than was thought: asking it where it is");
  }
  // The state before the position: a thread that waits for the position reads the state next.
  const bool at_a_cut = cut.epoch != Epoch();
  if (position.applied == cut && increments_ && at_a_cut) {
    SetState(view_.StateAfter(cut.epoch), "");
  }
  SetPosition(position, inquiry);
  return {};
}

}  // namespace tandem::replica
