// The command `tandemd scrub STORE[/VOLUME]`: compares replicas with what was applied to them,
// through the tandemd that has the store, or by itself if none has.
#pragma once

namespace tandem::tools {

// Runs the command: `argv[0]` is "scrub". Returns the exit code.
int RunScrub(int argc, char** argv);

}  // namespace tandem::tools
