// Lists a directory, for programs that judge filesystems.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/programs/lib/fd.h"

namespace tandem::programs {

// Without "." and "..", in byte order, because the order of readdir differs between filesystems.
// Nothing, with errno, on error: also where the filesystem has died since `directory` was opened.
std::optional<std::vector<std::string>> ListNames(Fd directory);

}  // namespace tandem::programs
