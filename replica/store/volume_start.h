// Opening a volume: what a crash has left is finished or discarded before anything else
// (replica/STORE.md, "After a crash"). A committed stage is redone later, in the background.
#pragma once

#include "meta/base/result.h"
#include "replica/store/apply_queue.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_report.h"

namespace tandem::replica {

// Opens the catalog, and leaves in the queue where the volume stands. Returns the stage that was
// broken off and can be gone on with, or null. Called before there is another thread.
Result<std::shared_ptr<Stage>> StartVolume(const VolumePlace& place, VolumeReport& report,
                                           ApplyQueue& queue, KeptCatalog& catalog);

}  // namespace tandem::replica
