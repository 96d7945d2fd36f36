// A store that was copied, file by file: a backup put back, a move to another disk. The tree is
// what it was, but every object in it is another inode than the catalog says.
//
// At the start of a volume, before there is another thread.
#pragma once

#include "meta/base/result.h"
#include "replica/apply/catalog.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_report.h"

namespace tandem::replica {

// Looks all objects up by name, if tree/ is another inode than the catalog says, and keeps what it
// finds. Returns false if the tree matches no cut and no stage can bring it to one; then `applied`,
// the catalog's cut, becomes "nowhere".
Result<bool> AdoptCopiedTree(const VolumePlace& place, Catalog& catalog, VolumeReport& report,
                             AppliedCut& applied);

}  // namespace tandem::replica
