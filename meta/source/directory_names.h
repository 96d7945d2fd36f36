// Reads the names in a directory. Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::meta {

bool IsDotOrDotDot(const char* name);

// Returns all names but "." and "..", in no particular order. `fd` must be open for reading, with
// its offset at the beginning of the directory. Takes ownership of `fd`.
Result<std::vector<std::string>> NamesFrom(UniqueFd fd);
// Returns all names but "." and "..", in byte order. `path_fd` may be an O_PATH descriptor. Does
// not change the access time of a directory that we own.
Result<std::vector<std::string>> ReadNames(int path_fd);

}  // namespace tandem::meta
