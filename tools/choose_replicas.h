// Decides which replicas a volume has, and what the state database remembers of each. Used by the
// thread that starts.
#pragma once

#include <vector>

#include "meta/state/state_database.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

// Returns the replicas of the command line, or, if it names none, those of the last run. A replica
// of which nothing is remembered may hold cuts of this source nevertheless (a power cut has undone
// its row), so it is owed a reconcile.
//
// A replica that the command line leaves out is stored apart, with its name, URL and cut, unless it
// is owed a reconcile. If it is named again while that cut is still known, it continues from there.
// (What changed after a known cut is known: meta/SCHEMA.md.)
Result<std::vector<meta::ReplicaRecord>> ChooseReplicas(
    meta::StateDatabase& database, const std::vector<ReplicaArgument>& arguments,
    bool database_was_lost);

}  // namespace tandem::tools
