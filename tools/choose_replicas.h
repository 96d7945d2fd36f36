// Which replicas a volume has from now on, with what is remembered of each in the state database.
// Used by the thread that starts.
#pragma once

#include <vector>

#include "meta/state_database.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

// The command line's replicas; without any, those of last time. One that nothing is remembered of
// may have seen cuts of this source all the same (a power cut has taken its row back): if it is not
// empty, everything is compared with it.
//
// One that is left out is remembered apart, by its name, its URL and its cut, unless a comparison
// of it is owed. If it is named again while that cut is still known, it goes on from there. (What
// changed after the cut is known then: meta/SCHEMA.md.)
Result<std::vector<meta::ReplicaRecord>> ChooseReplicas(
    meta::StateDatabase& database, const std::vector<ReplicaArgument>& arguments,
    bool database_was_lost);

}  // namespace tandem::tools
