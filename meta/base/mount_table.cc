#include "meta/base/mount_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "meta/base/unique_fd.h"

namespace tandem {
namespace {

// Decodes \ooo, as which mountinfo writes blanks, newlines and backslashes.
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

// Parses lines such as
// "36 35 98:0 /root /mount/point rw,noatime master:1 - type source super-options".
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
    constexpr size_t kSeparator = 3;
    std::istringstream more(line.substr(separator + kSeparator));
    more >> mount.type >> mount.source >> mount.options;
    mount.root = Unescape(mount.root);
    mount.path = Unescape(mount.path);
    mount.source = Unescape(mount.source);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<std::vector<MountedFilesystem>> MountsAt(const std::string& path) {
  ASSIGN_OR_RETURN(auto mounts, ReadMountTable());
  std::erase_if(mounts, [&path](const MountedFilesystem& mount) { return mount.path != path; });
  // The table may hold other mounts at this path, hidden by a mount that covers their parent.
  const UniqueFd parent(open(DirectoryAbove(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const int base = parent.valid() ? MountIdOf(parent.get()).value_or(0) : 0;
  auto next = std::ranges::find(mounts, base, &MountedFilesystem::parent);
  if (next == mounts.end()) {
    next = std::ranges::find_if(mounts, [&mounts](const MountedFilesystem& mount) {
      return std::ranges::find(mounts, mount.parent, &MountedFilesystem::id) == mounts.end();
    });
  }
  std::vector<MountedFilesystem> stack;
  while (next != mounts.end()) {
    stack.push_back(*next);
    next = std::ranges::find(mounts, stack.back().id, &MountedFilesystem::parent);
  }
  return stack;
}

std::string DirectoryAbove(const std::string& path) {
  return path.substr(0, std::max<size_t>(path.rfind('/'), 1));
}

Result<int> MountIdOf(int fd) {
  struct statx attributes;
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &attributes) != 0) {
    return ErrnoError("get the mount id");
  }
  return static_cast<int>(attributes.stx_mnt_id);
}

Result<std::vector<std::string>> MountsBelow(int source_mount, const std::string& source) {
  ASSIGN_OR_RETURN(const auto mounts, ReadMountTable());
  const std::string inside = source.ends_with('/') ? source : source + "/";
  std::set<int> below;
  std::set<std::string> paths;
  // Repeats until nothing is added: after mount --move a mount may come before its parent.
  for (size_t known = below.size() + 1; known != below.size();) {
    known = below.size();
    for (const MountedFilesystem& mount : mounts) {
      const bool on_source = mount.parent == source_mount && mount.path.starts_with(inside);
      if (!on_source && !below.contains(mount.parent)) continue;
      below.insert(mount.id);
      paths.insert(mount.path);
    }
  }
  return std::vector<std::string>(paths.begin(), paths.end());
}

}  // namespace tandem
