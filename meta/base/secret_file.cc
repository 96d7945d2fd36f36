#include "meta/base/secret_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "meta/base/private_files.h"

namespace tandem {
namespace {

std::string ParentOf(const std::string& path) {
  std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Returns the owner of the directory that `path` is in, or this process's user.
uid_t OwnerOfParent(const std::string& path, gid_t* group = nullptr) {
  struct stat found;
  if (stat(ParentOf(path).c_str(), &found) != 0) return geteuid();
  if (group != nullptr) *group = found.st_gid;
  return found.st_uid;
}

// Gives what root has made to the owner of the directory it is in: a daemon that runs as a user of
// its own must be able to read what an administrator makes.
Status GiveToOwner(int fd, const std::string& path, const std::string& shown) {
  gid_t group = 0;
  const uid_t owner = OwnerOfParent(path, &group);
  if (geteuid() != 0 || owner == 0) return {};
  if (fchown(fd, owner, group) != 0) return ErrnoError("chown " + shown);
  return {};
}

tl::unexpected<Error> Refuse(const std::string& path, const std::string& why) {
  return MakeError(ErrorKind::kRefused, "use " + path + " (" + why + ")", EPERM);
}

Status CheckOwner(const std::string& path, uid_t owner) {
  if (owner == 0 || owner == geteuid()) return {};
  if (geteuid() == 0 && owner == OwnerOfParent(path)) return {};
  return Refuse(path, "it belongs to user " + std::to_string(owner) +
                          ", who may know and change it: chown it, if that user did not make it");
}

Status WriteAll(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("write " + path);
    content.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Status SyncDirectory(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || fsync(fd.get()) != 0) return ErrnoError("sync directory " + path);
  return {};
}

}  // namespace

Result<std::string> ReadSecretFile(const std::string& path, size_t limit) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return ErrnoError("open " + path);
  struct stat found;
  if (fstat(fd.get(), &found) != 0) return ErrnoError("stat " + path);
  if (!S_ISREG(found.st_mode)) return Refuse(path, "it is not a regular file");
  constexpr mode_t kOthers = 077;
  if ((found.st_mode & kOthers) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", found.st_mode & 07777);
    return Refuse(path, std::string("its mode is ") + mode +
                            ", so other users may read or change what must be secret: if nobody "
                            "has, chmod 600 it");
  }
  RETURN_IF_ERROR(CheckOwner(path, found.st_uid));
  std::string content(limit + 1, '\0');
  size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = read(fd.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("read " + path);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > limit) {
    return Refuse(path, "it is larger than " + std::to_string(limit) +
                            " bytes, which no such file "
                            "is");
  }
  content.resize(size);
  return content;
}

Status WriteSecretFile(const std::string& path, std::string_view content) {
  const std::string fresh = path + ".new";
  if (unlink(fresh.c_str()) != 0 && errno != ENOENT) return ErrnoError("remove " + fresh);
  const UniqueFd fd(
      open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kPrivateFile));
  if (!fd.valid()) return ErrnoError("create " + fresh);
  if (fchmod(fd.get(), kPrivateFile) != 0) return ErrnoError("chmod " + fresh);
  RETURN_IF_ERROR(GiveToOwner(fd.get(), path, fresh));
  RETURN_IF_ERROR(WriteAll(fd.get(), content, fresh));
  if (fsync(fd.get()) != 0) return ErrnoError("sync " + fresh);
  if (rename(fresh.c_str(), path.c_str()) != 0) return ErrnoError("rename " + fresh);
  return SyncDirectory(ParentOf(path));
}

Status EnsureSecretDirectory(const std::string& path) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) {
    if (errno != ENOENT) return ErrnoError("stat " + path);
    std::error_code error;
    const std::string parent = ParentOf(path);
    std::filesystem::create_directories(parent, error);
    if (error) return ErrnoError(error.value(), "make directory " + parent);
    if (mkdir(path.c_str(), kPrivateDirectory) != 0 && errno != EEXIST) {
      return ErrnoError("make directory " + path);
    }
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.valid()) return ErrnoError("open " + path);
    RETURN_IF_ERROR(GiveToOwner(fd.get(), path, path));
    RETURN_IF_ERROR(SyncDirectory(parent));
    if (fstat(fd.get(), &found) != 0) return ErrnoError("stat " + path);
  }
  if (!S_ISDIR(found.st_mode)) return Refuse(path, "it is not a directory");
  RETURN_IF_ERROR(CheckOwner(path, found.st_uid));
  constexpr mode_t kOthersWrite = 022;
  if ((found.st_mode & kOthersWrite) != 0) {
    return Refuse(path, "other users may write to this directory: if nobody has, chmod 700 it");
  }
  EnsureMode(path, kPrivateDirectory);
  return {};
}

Result<LockedFile> LockedFile::Lock(const std::string& path) {
  constexpr std::chrono::milliseconds kPause{20};
  constexpr std::chrono::seconds kPatience{10};
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kPrivateFile));
  if (!fd.valid()) return ErrnoError("open lock " + path);
  RETURN_IF_ERROR(GiveToOwner(fd.get(), path, path));
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ErrnoError("lock " + path);
    if (std::chrono::steady_clock::now() > deadline) {
      return MakeError(ErrorKind::kSystem,
                       "lock " + path +
                           " (another process has held it for 10 seconds: find it "
                           "with `fuser` and try again when it has ended)",
                       EBUSY);
    }
    std::this_thread::sleep_for(kPause);
  }
  return LockedFile(std::move(fd));
}

}  // namespace tandem
