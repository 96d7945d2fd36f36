#include "tests/overlay.h"

#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tests/process.h"

namespace tandem::test {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

Overlay::Overlay(const Scratch& scratch, std::string directory)
    : directory_(std::move(directory)),
      lower_(scratch.Directory("lower")),
      disk_(scratch, "upper", "ext4", scratch.Path("layers")) {}

Overlay::~Overlay() { umount2(directory_.c_str(), MNT_DETACH); }

AssertionResult Overlay::Make() {
  constexpr uint64_t kBytes = uint64_t{512} << 20;
  if (auto made = disk_.Make(kBytes); !made) return made;
  std::filesystem::create_directory(disk_.directory() + "/upper");
  std::filesystem::create_directory(disk_.directory() + "/work");
  return MountLayers();
}

AssertionResult Overlay::MountLayers() {
  const std::string layers = "lowerdir=" + lower_ + ",upperdir=" + disk_.directory() +
                             "/upper,workdir=" + disk_.directory() + "/work";
  if (mount("overlay", directory_.c_str(), "overlay", 0, layers.c_str()) == 0) {
    return AssertionSuccess();
  }
  return AssertionFailure() << "mount an overlay: " << strerror(errno);
}

AssertionResult Overlay::Restart() {
  const bool unmounted =
      WaitFor([this] { return umount2(directory_.c_str(), 0) == 0 || errno != EBUSY; });
  if (!unmounted) return AssertionFailure() << directory_ << " is in use";
  return MountLayers();
}

}  // namespace tandem::test
