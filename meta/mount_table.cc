#include "meta/mount_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

namespace tandem::meta {
namespace {

// mountinfo writes blanks, newlines and backslashes as \ooo.
std::string Unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    constexpr size_t kDigits = 3;
    if (text[i] == '\\' && i + kDigits < text.size()) {
      plain += static_cast<char>(std::stoi(text.substr(i + 1, kDigits), nullptr, 8));
      i += kDigits;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

// A line: "36 35 98:0 /root /mount/point rw,noatime master:1 - type source super-options".
Result<std::vector<MountedFilesystem>> ReadMountTable() {
  std::ifstream table("/proc/self/mountinfo");
  if (!table) return ErrnoError("open /proc/self/mountinfo");
  std::vector<MountedFilesystem> mounts;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    MountedFilesystem mount;
    fields >> mount.id >> mount.parent >> mount.device >> mount.root >> mount.path;
    const size_t separator = line.find(" - ");
    if (separator == std::string::npos) continue;
    const size_t start = separator + 3;
    mount.root = Unescape(mount.root);
    mount.path = Unescape(mount.path);
    mount.type = line.substr(start, line.find(' ', start) - start);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<int> MountIdOf(int fd) {
  struct statx attributes;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &attributes) != 0) {
    return ErrnoError("find out which mount this is");
  }
  return static_cast<int>(attributes.stx_mnt_id);
}

}  // namespace tandem::meta
