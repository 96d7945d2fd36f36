// Chooses what an operation works on: by drawing names from the pool and
// looking whether they exist, in the actor's own area or in the shared one.
#pragma once

#include <sys/stat.h>

#include <optional>

#include "tests/programs/lib/workload_actor.h"

namespace tandem::workload {

// lstat; nothing if there is no such object.
std::optional<struct stat> Look(Actor& actor, const Path& path);

// A directory that existed a moment ago; at least an area.
Path PickDirectory(Actor& actor);
Path PickOwnDirectory(Actor& actor);  // Not in the shared area.

// A name in such a directory, which may exist or not, of a file or directory.
Path PickFileName(Actor& actor);
Path PickDirectoryName(Actor& actor);

// An object that exists, unless luck is against it.
Path PickFile(Actor& actor);
Path PickSubdirectory(Actor& actor);
Path PickObject(Actor& actor);  // Of any kind, also an area or the root.
Path PickEntry(Actor& actor);   // The same, but none of those.

}  // namespace tandem::workload
