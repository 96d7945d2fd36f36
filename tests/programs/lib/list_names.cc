#include "tests/programs/lib/list_names.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>

namespace tandem::programs {

std::optional<std::vector<std::string>> ListNames(Fd directory) {
  DIR* stream = fdopendir(directory.get());
  if (stream == nullptr) return std::nullopt;
  (void)directory.Release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
    errno = 0;
  }
  const int error = errno;
  closedir(stream);
  if (error != 0) {
    errno = error;
    return std::nullopt;
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tandem::programs
