// A step before all others, for a redo that found no room; see replica/apply/redo.h. Whatever it
// removes would go in the end: that it is not found any more is no matter to the steps that follow,
// nor to a redo that is done again. Nothing here takes room, but what it frees others may take.
#pragma once

#include <memory>
#include <vector>

#include "replica/apply/redo.h"

namespace tandem::replica {

Status FreeRoomFirst(RedoState& state, const std::vector<std::shared_ptr<Stage>>& stages);

}  // namespace tandem::replica
