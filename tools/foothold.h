// A descriptor on a mounted filesystem, found by its device number. Any thread.
#pragma once

#include <string>

#include "meta/base/unique_fd.h"

namespace tandem::tools {

// `device` is "major:minor", as in the mount table. Looks at `path` first, then wherever the table
// says the filesystem is mounted (it was moved, covered, or bound elsewhere), and at last, for one
// that was unmounted lazily, at what processes have open or mapped: they keep it alive. Not for
// reading or writing: what it is open on is some directory or file there.
UniqueFd FindFoothold(const std::string& device, const std::string& path);

}  // namespace tandem::tools
