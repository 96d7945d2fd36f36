#include "meta/source/directory_names.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>

#include "meta/base/unique_fd.h"

namespace tandem::meta {
namespace {

struct DirCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

}  // namespace

bool IsDotOrDotDot(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

Result<std::vector<std::string>> NamesFrom(UniqueFd fd) {
  const std::unique_ptr<DIR, DirCloser> directory(fdopendir(fd.get()));
  if (directory == nullptr) return ErrnoError("read directory");
  (void)fd.Release();  // closedir closes it
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) break;
    if (!IsDotOrDotDot(entry->d_name)) names.emplace_back(entry->d_name);
  }
  if (errno != 0) return ErrnoError("read directory");
  return names;
}

Result<std::vector<std::string>> ReadNames(int path_fd) {
  UniqueFd fd(openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME));
  if (!fd.valid() && errno == EPERM) {  // only the owner may use O_NOATIME
    fd.Reset(openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  if (!fd.valid()) return ErrnoError("open directory");
  ASSIGN_OR_RETURN(std::vector<std::string> names, NamesFrom(std::move(fd)));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tandem::meta
