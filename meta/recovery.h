// What the state database says about the last run, made into the tracker's starting point. Before
// the mount, on the thread that starts.
#pragma once

#include "meta/base/result.h"
#include "meta/source_tree.h"
#include "meta/state_database.h"
#include "meta/tracker.h"

namespace tandem::meta {

// Loads cuts and dirty rows; turns every hot row into suspect changes of a new epoch, written as
// dirty rows before the hot ones are deleted, so that dying in between repeats it. Needs no replica
// and reads nothing of the tree but the dirty entries' present values.
Result<Tracker::Recovered> Recover(StateDatabase& database, const SourceTree& tree);

}  // namespace tandem::meta
