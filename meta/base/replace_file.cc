#include "meta/base/replace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "meta/base/unique_fd.h"

namespace tandem {
namespace {

// Renames `fresh` to `name`. Exchanges the two files where the filesystem supports it, since a
// rename over an existing file makes ext4 write the new one to the disk at once.
Status PutInPlace(int directory_fd, const std::string& fresh, const std::string& name) {
  const char* const from = fresh.c_str();
  if (renameat2(directory_fd, from, directory_fd, name.c_str(), RENAME_EXCHANGE) == 0) {
    if (unlinkat(directory_fd, from, 0) != 0) return ErrnoError("remove " + fresh);
    return {};
  }
  if (errno != ENOENT && errno != EINVAL) return ErrnoError("exchange " + fresh + " and " + name);
  if (renameat(directory_fd, from, directory_fd, name.c_str()) != 0) {
    return ErrnoError("rename " + fresh + " to " + name);
  }
  return {};
}

}  // namespace

Status ReplaceFile(int directory_fd, const std::string& name, std::string_view content, mode_t mode,
                   bool durably) {
  const std::string fresh = name + ".new";
  const auto create = [&] {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    return UniqueFd(openat(directory_fd, fresh.c_str(), kFlags, mode));
  };
  UniqueFd fd = create();
  if (!fd.valid() && errno == EEXIST && unlinkat(directory_fd, fresh.c_str(), 0) == 0) {
    fd = create();  // a process that was killed has left it behind
  }
  if (!fd.valid()) return ErrnoError("create " + fresh);
  const ssize_t written = write(fd.get(), content.data(), content.size());
  if (written < 0) return ErrnoError("write " + fresh);
  if (static_cast<size_t>(written) != content.size()) return ErrnoError(ENOSPC, "write " + fresh);
  if (durably && fsync(fd.get()) != 0) return ErrnoError("sync " + fresh);
  RETURN_IF_ERROR(PutInPlace(directory_fd, fresh, name));
  if (durably && fsync(directory_fd) != 0) return ErrnoError("sync directory of " + name);
  return {};
}

Status ReplaceFile(const std::string& path, std::string_view content, mode_t mode, bool durably) {
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const UniqueFd directory(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return ErrnoError("open " + parent);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  auto replaced = ReplaceFile(directory.get(), name, content, mode, durably);
  if (!replaced)
    return tl::unexpected<Error>(std::move(replaced.error()).Within("replace " + path));
  return {};
}

}  // namespace tandem
