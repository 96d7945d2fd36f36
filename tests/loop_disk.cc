#include "tests/loop_disk.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/process.h"

namespace tandem::test {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

// ext4 and xfs share it (EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN); no header for programs has both.
constexpr unsigned long kShutdown = _IOR('X', 125, uint32_t);
constexpr uint32_t kFlushLog = 1;
constexpr uint32_t kFlushNothing = 2;

AssertionResult Succeeds(const std::vector<std::string>& command) {
  const Outcome outcome = Execute(command);
  if (outcome.code == 0) return AssertionSuccess();
  return AssertionFailure() << command[0] << ": " << outcome;
}

}  // namespace

LoopDisk::LoopDisk(const Scratch& scratch, const std::string& name, std::string type,
                   std::string directory)
    : image_(scratch.Path(name + ".image")),
      type_(std::move(type)),
      directory_(std::move(directory)) {}

LoopDisk::~LoopDisk() { umount2(directory_.c_str(), MNT_DETACH); }

AssertionResult LoopDisk::Make(uint64_t bytes) {
  const UniqueFd image(open(image_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  if (!image.valid() || ftruncate(image.get(), static_cast<off_t>(bytes)) != 0) {
    return AssertionFailure() << "make " << image_;
  }
  std::vector<std::string> command = {"mkfs." + type_, "-q", image_};
  if (type_ == "btrfs") command.insert(command.end() - 1, {"-m", "single"});
  const AssertionResult made = Succeeds(command);
  if (!made) return made;
  std::filesystem::create_directories(directory_);
  return MountImage();
}

AssertionResult LoopDisk::MountImage() {
  return Succeeds({"mount", "-t", type_, "-o", "loop", image_, directory_});
}

AssertionResult LoopDisk::CutPower(bool flush_log) {
  const UniqueFd root(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const uint32_t how = flush_log ? kFlushLog : kFlushNothing;
  if (root.valid() && ioctl(root.get(), kShutdown, &how) == 0) return AssertionSuccess();
  return AssertionFailure() << "shut down " << directory_ << ": " << strerror(errno);
}

AssertionResult LoopDisk::Unmount() {
  const bool unmounted =
      WaitFor([this] { return umount2(directory_.c_str(), 0) == 0 || errno != EBUSY; });
  if (!unmounted) return AssertionFailure() << directory_ << " is in use";
  return AssertionSuccess();
}

AssertionResult LoopDisk::Restart() {
  const AssertionResult unmounted = Unmount();
  return unmounted ? MountImage() : unmounted;
}

AssertionResult LoopDisk::Damage(std::string_view content) {
  const AssertionResult unmounted = Unmount();
  if (!unmounted) return unmounted;
  const UniqueFd image(open(image_.c_str(), O_RDWR | O_CLOEXEC));
  const std::string disk = Read(image_);
  const size_t at = disk.find(content);
  if (at == std::string::npos) return AssertionFailure() << "not found on " << image_;
  const char flipped = static_cast<char>(~content[0]);
  if (pwrite(image.get(), &flipped, 1, static_cast<off_t>(at)) != 1 || fsync(image.get()) != 0) {
    return AssertionFailure() << "write " << image_;
  }
  return MountImage();
}

}  // namespace tandem::test
