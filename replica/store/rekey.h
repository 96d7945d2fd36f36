// Answers Rekey: gives imported objects the ids that the source has for them, in the catalog. The
// tree is not touched, since it is inodes by which a redo recognises objects.
//
// Any thread. Takes the lock of the KeptCatalog.
#pragma once

#include "replica/store/apply_queue.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/volume_place.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// Refuses unless the replica is at no cut and nothing is to be redone: a stage that was committed
// refers to the ids of its time. The change is kept with the next commit, before the stage's own
// record: see StageTaker.
Reply TakeRekey(const Rekey& rekey, const VolumePlace& place, ApplyQueue& queue, KeptCatalog& kept);

}  // namespace tandem::replica
