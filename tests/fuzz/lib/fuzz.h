// What the fuzz targets share. A target is one thread, unless it says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "meta/base/unique_fd.h"

namespace tandem::fuzz {

// Ends the process, as a finding, unless the condition holds. `what`: what must be true, for
// people.
void Require(bool condition, const char* what);

// Returns a directory in memory that is this process's own: below TANDEM_FUZZ_DIR, which run.sh
// makes and removes, or below /dev/shm. Made at the first call.
const std::string& ScratchPath();

// Replaces the content of a file, which is made if it is not there.
void PutFile(const std::string& path, std::string_view bytes);

// Turns off the log, which would tell of each input.
void BeQuiet();

}  // namespace tandem::fuzz
