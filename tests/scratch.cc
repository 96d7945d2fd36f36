#include "tests/scratch.h"

#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "meta/base/mount_table.h"

namespace tandem::test {
namespace {

constexpr char kPrefix[] = "tandemfs-test.";

std::string Parent() {
  const char* chosen = std::getenv("TANDEM_TEST_DIR");
  return chosen != nullptr && *chosen == '/' ? chosen : "/var/tmp";
}

void Remove(const std::string& path) {
  DetachBelow(path);
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) std::cerr << "remove " << path << ": " << error.message() << "\n";
}

// "PREFIX<pid>.<random>" of processes that are no more.
void RemoveLeftOvers(const std::string& parent) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const int pid = std::atoi(name.c_str() + sizeof kPrefix - 1);
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) Remove(entry.path());
  }
}

}  // namespace

Scratch::Scratch() {
  static const bool once = (RemoveLeftOvers(Parent()), true);
  (void)once;
  path_ = Parent() + "/" + kPrefix + std::to_string(getpid()) + ".XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) {
    perror(path_.c_str());
    std::abort();
  }
  std::filesystem::permissions(path_, std::filesystem::perms(0755));
}

Scratch::~Scratch() { Remove(path_); }

std::string Scratch::Directory(const std::string& name) const {
  std::string path = Path(name);
  std::filesystem::create_directories(path);
  return path;
}

std::vector<std::string> MountsBelow(const std::string& path) {
  std::vector<std::string> found;
  const auto mounts = ReadMountTable();
  if (!mounts) return found;
  for (const MountedFilesystem& mount : *mounts) {
    if (mount.path == path || mount.path.starts_with(path + "/")) found.push_back(mount.path);
  }
  return found;
}

void DetachBelow(const std::string& path) {
  // Newest first. What cannot be detached is left to the one who looks.
  auto mounts = MountsBelow(path);
  for (auto mountpoint = mounts.rbegin(); mountpoint != mounts.rend(); ++mountpoint) {
    if (umount2(mountpoint->c_str(), MNT_DETACH) != 0) perror(mountpoint->c_str());
  }
}

}  // namespace tandem::test
