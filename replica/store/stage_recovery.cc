#include "replica/store/stage_recovery.h"

#include <unistd.h>

#include <algorithm>
#include <unordered_set>

#include "meta/base/log.h"
#include "replica/apply/removal.h"
#include "replica/apply/staged_files.h"

namespace tandem::replica {
namespace {

// Removes content whose stage never was, or is no more.
Status RemoveStrayFiles(const VolumePlace& place, const std::vector<std::string>& names,
                        const RecoveredStages& recovered) {
  std::unordered_set<std::string> known;
  for (const auto* stages : {&recovered.pending, &recovered.unsynced}) {
    for (const auto& stage : *stages) known.insert(stage->id().ToHex() + StagedFiles::kSuffix);
  }
  if (recovered.open != nullptr) known.insert(recovered.open->id().ToHex() + StagedFiles::kSuffix);
  for (const std::string& name : names) {
    if (name.ends_with(Stage::kRoomSuffix)) (void)unlinkat(place.stage_fd(), name.c_str(), 0);
    if (!name.ends_with(StagedFiles::kSuffix) || known.contains(name)) continue;
    RETURN_IF_ERROR(StagedFiles(place.stage_fd(), name).Remove());
  }
  return {};
}

}  // namespace

// Stages up to the catalog's cut wait for a sync. From there on each must follow the one before by
// its base: numbers do not tell where a set of no moment belongs, which has none. One that is not
// on the way was applied long ago. (Stages from before the tree was at no cut, and what the source
// has sent since, do not follow: they may have been left behind.)
RecoveredStages SortStages(const std::string& volume, const RecoveredStages::Stages& stages,
                           const AppliedCut& applied) {
  RecoveredStages sorted;
  sorted.durable = applied;
  RecoveredStages::Stages rest;
  for (const auto& stage : stages) {
    const CutName cut = stage->commit_record().cut;
    const bool kept =
        cut == applied.name || (cut.epoch != Epoch() && cut.epoch <= applied.name.epoch);
    (kept ? sorted.unsynced : rest).push_back(stage);
  }
  while (true) {
    const auto next = std::ranges::find_if(
        rest, [&sorted](const auto& stage) { return stage->base() == sorted.durable.name; });
    if (next == rest.end()) break;
    const CommitRecord commit = (*next)->commit_record();
    sorted.durable = {commit.cut, commit.wall_time_ns};
    sorted.pending.push_back(std::move(*next));
    rest.erase(next);
  }
  for (const auto& stage : rest) {
    const Epoch cut = stage->commit_record().cut.epoch;
    if (cut == Epoch() && !applied.IsNowhere()) {
      sorted.unsynced.push_back(stage);
      continue;
    }
    LogError("volume {}: stage of cut {} does not follow cut {}: discarded", volume, cut.number(),
             sorted.durable.name.epoch.number());
    sorted.astray.push_back(stage);
  }
  return sorted;
}

Result<RecoveredStages> RecoverStages(const VolumePlace& place, const AppliedCut& applied) {
  ASSIGN_OR_RETURN(const auto names, NamesIn(place.stage_fd()));
  RecoveredStages::Stages stages;
  RecoveredStages::Stages open;
  for (const std::string& name : names) {
    if (!Stage::IsStageName(name)) continue;
    auto stage = Stage::Recover(place.stage_fd(), name, place.identity().volume);
    if (stage) {
      stages.push_back(std::move(*stage));
      continue;
    }
    if (stage.error().kind() != ErrorKind::kCorrupt) {
      return tl::unexpected<Error>(std::move(stage.error()));
    }
    auto broken_off =
        Stage::RecoverOpen(place.stage_fd(), name, place.identity().volume, place.life());
    if (broken_off) {
      open.push_back(std::move(*broken_off));
      continue;
    }
    if (broken_off.error().kind() != ErrorKind::kCorrupt) {
      return tl::unexpected<Error>(std::move(broken_off.error()));
    }
    LogInfo("volume {}: {}: never committed, discarded", place.name(),
            broken_off.error().ToString());
    RETURN_IF_ERROR(Stage::RemoveFile(place.stage_fd(), name));
  }
  std::ranges::sort(stages, {}, [](const auto& stage) { return stage->commit_record().cut.epoch; });
  RecoveredStages recovered = SortStages(place.name(), stages, applied);
  for (const auto& stage : open) {
    // What is to be redone may need its room.
    const bool is_next = recovered.pending.empty() && stage->base() == recovered.durable.name;
    if (recovered.open == nullptr && is_next) {
      recovered.open = stage;
    } else {
      RETURN_IF_ERROR(stage->Remove());
    }
  }
  RETURN_IF_ERROR(RemoveStrayFiles(place, names, recovered));
  // The daemon that committed them may have died before they were on the disk, and the source is
  // told now that they are durable.
  if (!recovered.pending.empty() && syncfs(place.stage_fd()) != 0) {
    return ErrnoError("sync stages");
  }
  return recovered;
}

Status DiscardStages(const VolumePlace& place) {
  ASSIGN_OR_RETURN(const auto names, NamesIn(place.stage_fd()));
  for (const std::string& name : names) {
    if (!Stage::IsStageName(name)) continue;
    RETURN_IF_ERROR(Stage::RemoveFile(place.stage_fd(), name));
  }
  return RemoveStrayFiles(place, names, {});
}

}  // namespace tandem::replica
