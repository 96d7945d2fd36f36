// The stages that a start finds on the disk: which of them are to be redone, which are only to be
// kept, and which lead nowhere (replica/STORE.md, "After a crash").
//
// At the start of a volume, before there is another thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "meta/base/result.h"
#include "replica/apply/catalog.h"
#include "replica/apply/stage.h"
#include "replica/store/volume_place.h"

namespace tandem::replica {

struct RecoveredStages {
  using Stages = std::vector<std::shared_ptr<Stage>>;

  AppliedCut durable;  // where `pending` leads; the applied cut if there are none
  Stages pending;      // to be redone, in order
  Stages unsynced;     // applied: they wait for a sync
  Stages astray;       // do not follow, oldest first; to be removed by the caller
  // Was broken off before its commit, and can be gone on with; or null.
  std::shared_ptr<Stage> open;
};

// Sorts committed stages, oldest first, by where they belong if the catalog is at `applied`.
// `volume`: its name, for the log.
RecoveredStages SortStages(const std::string& volume, const RecoveredStages::Stages& stages,
                           const AppliedCut& applied);

// Reads all stages, and removes what was never committed and cannot be gone on with. What is
// pending is on stable storage when it returns.
Result<RecoveredStages> RecoverStages(const VolumePlace& place, const AppliedCut& applied);

// Removes all stages.
Status DiscardStages(const VolumePlace& place);

}  // namespace tandem::replica
