#include <fcntl.h>
#include <sys/stat.h>

#include "meta/base/read_at.h"
#include "meta/base/unique_fd.h"
#include "meta/filter/filter_rules.h"

namespace tandem::meta {

Result<std::string> ReadRulesFile(int directory, const std::string& path) {
  // O_NONBLOCK: a FIFO is refused below, instead of waiting for somebody to write to it.
  const int no_links = directory == AT_FDCWD ? 0 : O_NOFOLLOW;
  const UniqueFd fd(
      openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | no_links));
  if (!fd.valid()) return ErrnoError("open " + path);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return ErrnoError("stat " + path);
  if (!S_ISREG(status.st_mode)) {
    return MakeError(ErrorKind::kUsage,
                     path + ": a rules file is expected, but this is not a regular file");
  }
  std::string content(kMostRulesFileBytes + 1, '\0');
  ASSIGN_OR_RETURN(const size_t size, ReadAt(fd.get(), 0, content, ("read " + path).c_str()));
  if (size > kMostRulesFileBytes) {
    return MakeError(ErrorKind::kUsage, path + ": a rules file has at most 1 MiB");
  }
  content.resize(size);
  content.shrink_to_fit();
  return content;
}

}  // namespace tandem::meta
