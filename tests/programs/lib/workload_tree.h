// Whole subtrees, of any depth: they are walked by descriptor.
#pragma once

#include <cstdint>

#include "tests/programs/lib/workload_actor.h"

namespace tandem::workload {

struct Usage {
  uint64_t objects = 0;
  uint64_t allocated_bytes = 0;
};

// What `path` has below it; objects that vanish meanwhile do not matter.
Usage MeasureTree(Actor& actor, const Path& path);

// Removes what `path` has below it, in the order of the names, and then it.
void RemoveTree(Actor& actor, const Path& path);

// Removes entries of the directory `area` until about half the limits remain,
// if it is above them.
void EnforceLimits(Actor& actor, const Path& area, Usage limits);

// Removes what was created in the root, beside the areas, through symlinks.
void RemoveStrays(Actor& actor);

// mkdir of a chain `path`/NAME/NAME/..., each name of up to `name_bytes`, with
// a file at the bottom. The path of that may be longer than PATH_MAX.
void BuildChain(Actor& actor, const Path& path, int depth, size_t name_bytes);

}  // namespace tandem::workload
