// A step before all others, for a redo that found no room; see replica/apply/redo.h. It removes
// only what would be gone in the end anyway, so neither the following steps nor a repeated redo
// miss it. This step takes no room, but other programs may take the room that it frees. One thread.
#pragma once

#include <memory>
#include <vector>

#include "replica/apply/redo.h"

namespace tandem::replica {

Status FreeRoomFirst(RedoState& state, const std::vector<std::shared_ptr<Stage>>& stages);

}  // namespace tandem::replica
