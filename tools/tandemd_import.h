// `tandemd import`: adopts a copy of a source as the tree of a new volume. One thread.
#pragma once

#include <optional>

namespace tandem::tools {

// Returns the exit code if the arguments are those of `tandemd import`.
std::optional<int> RunImportCommand(int argc, char** argv);

}  // namespace tandem::tools
