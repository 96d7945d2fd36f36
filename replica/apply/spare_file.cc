#include "replica/apply/spare_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "replica/apply/file_data.h"

namespace tandem::replica {
namespace {

Status WriteZeros(int fd, uint64_t bytes) {
  const std::string zeros(std::min<uint64_t>(bytes, 256 << 10), '\0');
  for (uint64_t done = 0; done < bytes; done += zeros.size()) {
    const auto now = std::string_view(zeros).substr(0, bytes - done);
    RETURN_IF_ERROR(WriteFully(fd, now, done));
  }
  if (fdatasync(fd) != 0) return ErrnoError("sync a spare file");
  return {};
}

}  // namespace

Result<UniqueFd> CreateAfresh(int directory_fd, const std::string& name, mode_t mode) {
  (void)unlinkat(directory_fd, name.c_str(), 0);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  UniqueFd fd(openat(directory_fd, name.c_str(), kFlags, mode));
  if (!fd.valid()) return ErrnoError("create " + name);
  return fd;
}

bool IsFileWithOneName(const struct stat& file) {
  return S_ISREG(file.st_mode) && file.st_nlink == 1;
}

bool IsFileWithOneName(int fd) {
  struct stat found;
  return fstat(fd, &found) == 0 && IsFileWithOneName(found);
}

Status MakeSpare(int directory_fd, const std::string& name, uint64_t bytes, mode_t mode) {
  if (faccessat(directory_fd, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return {};
  const std::string fresh = name + ".new";
  ASSIGN_OR_RETURN(const UniqueFd fd, CreateAfresh(directory_fd, fresh, mode));
  // The blocks are written, not only allocated, because a first write to an allocated block may
  // take further blocks.
  auto done = WriteZeros(fd.get(), bytes);
  // Never replaces an existing file: a spare file may have been given back meanwhile.
  if (done && linkat(directory_fd, fresh.c_str(), directory_fd, name.c_str(), 0) != 0 &&
      errno != EEXIST) {
    done = ErrnoError("link " + fresh + " to " + name);
  }
  (void)unlinkat(directory_fd, fresh.c_str(), 0);
  return done;
}

Status ClearSpare(int fd) {
  struct stat now = {};
  if (fstat(fd, &now) != 0) return ErrnoError("stat a spare file");
  return WriteZeros(fd, static_cast<uint64_t>(now.st_size));
}

}  // namespace tandem::replica
