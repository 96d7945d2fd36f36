// Opens a descriptor on a mounted filesystem that is known by its device number. Any thread.
#pragma once

#include <string>

#include "meta/base/unique_fd.h"

namespace tandem::tools {

// `device` is "major:minor", as in the mount table. Tries `path` first, then every place where the
// filesystem is mounted (it may have been moved, covered, or bound elsewhere). If it was unmounted
// lazily, tries the files that processes have open or mapped, which keep it alive. The descriptor
// is on an arbitrary directory or file there: use it for open_by_handle_at or openat only. Returns
// an invalid one if there is none.
UniqueFd OpenOnDevice(const std::string& device, const std::string& path);

}  // namespace tandem::tools
