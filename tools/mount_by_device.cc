#include "tools/mount_by_device.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "meta/base/mount_table.h"

namespace tandem::tools {
namespace {

namespace stdfs = std::filesystem;

// Returns whether the path is a file or directory on `device`. Sends no request to the filesystem,
// since another one may hang. Excludes devices: opening one has side effects.
bool IsOn(const std::string& device, int directory_fd, const char* path) {
  struct statx found;
  const int flags = AT_STATX_DONT_SYNC | (*path == '\0' ? AT_EMPTY_PATH : 0);
  if (statx(directory_fd, path, flags, STATX_TYPE, &found) != 0) return false;
  return (S_ISREG(found.stx_mode) || S_ISDIR(found.stx_mode)) &&
         device == std::to_string(found.stx_dev_major) + ":" + std::to_string(found.stx_dev_minor);
}

UniqueFd OpenIfOn(const std::string& device, const std::string& path) {
  if (!IsOn(device, AT_FDCWD, path.c_str())) return {};
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  // A path in /proc may lead elsewhere by now, if the process has reused the descriptor number.
  if (!fd.valid() || !IsOn(device, fd.get(), "")) return {};
  return fd;
}

UniqueFd OpenFirstIn(const std::string& device, const stdfs::path& directory) {
  std::error_code error;
  for (auto link = stdfs::directory_iterator(directory, error);
       !error && link != stdfs::directory_iterator(); link.increment(error)) {
    UniqueFd fd = OpenIfOn(device, link->path());
    if (fd.valid()) return fd;
  }
  return {};
}

UniqueFd FindInProcesses(const std::string& device) {
  std::error_code error;
  for (auto process = stdfs::directory_iterator("/proc", error);
       !error && process != stdfs::directory_iterator(); process.increment(error)) {
    const std::string name = process->path().filename();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    UniqueFd fd = OpenIfOn(device, process->path() / "cwd");
    for (const char* links : {"fd", "map_files"}) {
      if (!fd.valid()) fd = OpenFirstIn(device, process->path() / links);
    }
    if (fd.valid()) return fd;
  }
  return {};
}

}  // namespace

UniqueFd OpenOnDevice(const std::string& device, const std::string& path) {
  UniqueFd fd = OpenIfOn(device, path);
  if (fd.valid()) return fd;
  if (const auto mounts = ReadMountTable()) {
    for (const MountedFilesystem& mount : *mounts) {
      if (mount.device != device) continue;
      fd = OpenIfOn(device, mount.path);
      if (fd.valid()) return fd;
    }
  }
  return FindInProcesses(device);
}

}  // namespace tandem::tools
