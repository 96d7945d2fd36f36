#include "replica/store/volume_start.h"

#include <utility>

#include "replica/apply/marker.h"
#include "replica/apply/stage.h"
#include "replica/store/copied_tree.h"
#include "replica/store/room_check.h"
#include "replica/store/stage_recovery.h"

namespace tandem::replica {
namespace {

// Returns whether the tree is, or was once, where neither the catalog nor the stages lead: the
// catalog is at one cut, and the stages lead from there to the last one. A catalog is kept only
// after the marker has told of its cut, and the marker is synced with the tree: if it cannot be
// read then, where the tree is cannot be known.
bool IsElsewhere(const std::optional<Marker>& marker, const CutName& catalog, const CutName& last) {
  if (last.epoch == Epoch()) return false;
  if (marker && marker->cut.name.epoch > last.epoch) return true;
  const bool has_stages = catalog != last;  // their redo writes the marker
  return !has_stages && (!marker || marker->state != TreeState::kApplied);
}

// A tree that is on its way to a cut, or at a cut that the catalog does not know, while no stage
// leads there, is at no cut. That takes a damaged disk: a commit that was not answered leaves its
// stage.
Status CheckMarker(const VolumePlace& place, ApplyQueue& queue, Catalog& catalog,
                   ApplyQueue::Stages astray) {
  const AppliedCut durable = queue.durable();
  const bool chain_is_broken = !durable.IsNowhere() && !astray.empty() &&
                               astray.back()->commit_record().cut.epoch > durable.name.epoch;
  if (chain_is_broken || IsElsewhere(ReadMarker(place.fd()), queue.applied().name, durable.name)) {
    const auto pending = queue.TakePending();
    astray.insert(astray.end(), pending.begin(), pending.end());
    const AppliedCut nowhere = AppliedCut::Nowhere();
    queue.LeaveEveryCut("a change set was lost while it was being applied", nowhere);
    ASSIGN_OR_RETURN(Savepoint part, catalog.Begin());
    RETURN_IF_ERROR(catalog.SetApplied(nowhere));
    RETURN_IF_ERROR(part.Release());
    RETURN_IF_ERROR(catalog.Keep());
  }
  // Last: if this start is cut off, the next must see what this one has seen.
  for (const auto& stage : astray) RETURN_IF_ERROR(stage->Remove());
  if (!queue.pending().empty()) return {};  // its redo writes the marker
  queue.NoteTreeIsWhole();
  const AppliedCut applied = queue.applied();
  const TreeState state = applied.IsNowhere() ? TreeState::kSeeding : TreeState::kApplied;
  // What is taken for equal when the source compares must last.
  RETURN_IF_ERROR(place.Sync());
  // No stage stands behind it: it must not come out of a power cut empty.
  return WriteMarker(place.fd(), {place.identity(), state, applied}, /*durably=*/true);
}

}  // namespace

Result<std::shared_ptr<Stage>> StartVolume(const VolumePlace& place, VolumeReport& report,
                                           ApplyQueue& queue, KeptCatalog& kept) {
  RETURN_IF_ERROR(kept.Open());
  const KeptCatalog::Lock lock(kept);
  Catalog& catalog = kept.catalog();
  ApplyQueue::Cuts cuts;
  ASSIGN_OR_RETURN(cuts.applied, catalog.Applied());
  ASSIGN_OR_RETURN(cuts.empty, catalog.IsEmpty());
  Notices notices;
  ASSIGN_OR_RETURN(notices.lacking, catalog.lacking().Count());
  report.SetNotices(notices);
  ASSIGN_OR_RETURN(const bool usable, AdoptCopiedTree(place, catalog, report, cuts.applied));
  RecoveredStages stages;
  if (usable) {
    ASSIGN_OR_RETURN(stages, RecoverStages(place, cuts.applied));
  } else {
    RETURN_IF_ERROR(DiscardStages(place));
    stages.durable = cuts.applied;
  }
  cuts.durable = stages.durable;
  cuts.pending = std::move(stages.pending);
  cuts.unsynced = std::move(stages.unsynced);
  queue.Restore(std::move(cuts));
  // Before the marker is written, on a disk that may be full.
  RETURN_IF_ERROR(Stage::ClearSpares(place.stage_fd()));
  MakeSpares(place, catalog);
  RETURN_IF_ERROR(CheckMarker(place, queue, catalog, std::move(stages.astray)));
  // CheckMarker may have found that the tree is at no cut.
  if (stages.open != nullptr && stages.open->base() != queue.durable().name) {
    RETURN_IF_ERROR(stages.open->Remove());
    stages.open = nullptr;
  }
  return std::move(stages.open);
}

}  // namespace tandem::replica
