// Recovery: makes the tracker's initial state of what the state database says about the last run.
// Runs before the mount, on the starting thread.
#pragma once

#include "meta/base/result.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_database.h"

namespace tandem::meta {

// Loads cuts and dirty rows, and turns every hot row into suspect changes of a new epoch. Those are
// written as dirty rows in the transaction that deletes the hot rows, so that recovery is repeated
// if the process dies before. Needs no replica, and reads nothing of the tree but the objects that
// dirty entries lead to now.
Result<Tracker::Recovered> Recover(StateDatabase& database, const SourceTree& tree);

}  // namespace tandem::meta
