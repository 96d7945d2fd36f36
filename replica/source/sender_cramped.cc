// A replica whose disk is full: what makes room there is sent first, or on top of a cut that cannot
// be applied.
#include <algorithm>

#include "meta/base/log.h"
#include "replica/source/cut_shipper.h"
#include "replica/source/sender.h"
#include "replica/source/thin_set.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

Result<CutName> Sender::CommitThin(Peer& peer, const CutName& base) {
  const CutName real = RealCut(base);
  ASSIGN_OR_RETURN(const auto cut, tracker_.TakeCut(real.epoch));
  if (!tracker_.Knows(real) || !retention_.Holds(options_.name)) {
    return MakeError(ErrorKind::kCancelled, "more has changed than is remembered");
  }
  if (!ThinSet::MayMakeRoom(cut->changes())) {
    cut->GiveUp();
    return MakeError(ErrorKind::kRefused, "nothing has changed that makes room", ENOSPC);
  }
  ASSIGN_OR_RETURN(StageWriter stage, StageWriter::Begin(peer, progress_, base));
  ThinSet thin(*cut, stage);
  RETURN_IF_ERROR(thin.Ship());
  if (!cut->Finish()) return MakeError(ErrorKind::kGivenUp, "the cut was given up");
  const CutName name{Epoch(), CutId::Random()};
  thin_names_.Add(name, real);
  for (int tries = 0; tries < kMaxThinCommits; ++tries) {
    ASSIGN_OR_RETURN(const Reply reply, stage.Commit(name, cut->cut().wall_time_ns));
    if (reply.code != ReplyCode::kMissingObjects) {
      RETURN_IF_ERROR(Peer::ToStatus(reply));
      LogInfo("replica {}: what was removed goes ahead, to make room there", options_.name);
      return name;
    }
    ASSIGN_OR_RETURN(const bool any, thin.TakeNamesBack(reply.missing));
    if (!any) break;
  }
  return MakeError(ErrorKind::kRefused, "the replica lacks what the change set speaks of", ENOSPC);
}

// Called when the cut did not fit. Returns true if the replica is further on, though at no cut, and
// may have room now.
Result<bool> Sender::MakeRoom(Peer& peer, Position& position, const Error& why) {
  if (!increments_) return false;
  const auto thin = CommitThin(peer, position.durable);
  if (!thin && thin.error().kind() == ErrorKind::kUnreachable) {
    return tl::unexpected<Error>(thin.error());
  }
  if (!thin) {
    LogDebug("replica {}: {}", options_.name, thin.error().ToString());
    return false;
  }
  trouble_ = why.ToString();
  view_.SetInStep(false);
  RETURN_IF_ERROR(AwaitApplied(peer, position, *thin));
  HoldAfter(position.applied);
  return true;
}

// `cut` is durable on the replica and cannot be applied for lack of room. What has changed since
// may make room: it is sent on top, and both are applied as one. The replica cannot be read
// meanwhile.
std::optional<CutName> Sender::ShipOnTop(Peer& peer, const CutName& cut, uint64_t largest_file) {
  const CutName real = RealCut(cut);
  if (!tracker_.Knows(real) || !retention_.Holds(options_.name) || control_.paused())
    return std::nullopt;
  const Epoch after = std::max(real.epoch, tried_on_top_);
  if (!tracker_.WaitForChanges(after, CondVar::Clock::now())) return std::nullopt;
  auto next = CommitOnTop(peer, cut, largest_file);
  if (!next && MeansNoRoom(next.error())) next = CommitThin(peer, cut);
  if (next) return *next;
  LogDebug("replica {}: {}", options_.name, next.error().ToString());
  return std::nullopt;
}

Result<CutName> Sender::CommitOnTop(Peer& peer, const CutName& base, uint64_t largest_file) {
  ASSIGN_OR_RETURN(const auto cut, tracker_.TakeCut(RealCut(base).epoch));
  const CutName name = cut->cut().name;
  tried_on_top_ = name.epoch;
  retention_.NoteCut(options_.name, name.epoch);
  if (!tracker_.Knows(name)) {
    return MakeError(ErrorKind::kCancelled, "the cut was forgotten before it was sent");
  }
  ASSIGN_OR_RETURN(StageWriter stage, StageWriter::Begin(peer, progress_, base));
  ObjectShipper objects(peer, stage, progress_, known_, ObjectShipper::Compare::kNot, largest_file);
  objects.WriteInPlace();
  // What would have to be looked up on the replica waits until it answers again.
  Walker walker(tree_, peer, stage, objects, {false, Epoch()}, debt_.uncompared,
                [this] { return control_.may_go_on(); });
  CutShipper cuts(tree_, stage, objects, walker, cut_progress_);
  ASSIGN_OR_RETURN(const bool walked, cuts.Ship(cut));
  if (!cut->Finish() || walked) return MakeError(ErrorKind::kGivenUp, "the cut was given up");
  view_.lacking().Stage(cut->changes());
  RETURN_IF_ERROR(DeferUnreadable(name, objects));
  retention_.NoteCommit(options_.name);
  ASSIGN_OR_RETURN(const Reply reply, stage.Commit(name, cut->cut().wall_time_ns));
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  return name;
}

}  // namespace tandem::replica
