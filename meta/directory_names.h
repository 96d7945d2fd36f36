// The names in a directory. Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::meta {

bool IsDotOrDotDot(const char* name);

// All but "." and "..", in no order. `fd` is open for reading, at the directory's beginning.
Result<std::vector<std::string>> NamesFrom(UniqueFd fd);
// All but "." and "..", in byte order. `path_fd` may be O_PATH. Moves no access time of a directory
// that is ours.
Result<std::vector<std::string>> ReadNames(int path_fd);

}  // namespace tandem::meta
