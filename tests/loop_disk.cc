#include "tests/loop_disk.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
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

// Returns 0 if the words are not there.
off_t NumberAfter(const std::string& text, const std::string& words, int base) {
  const size_t at = text.find(words);
  return at == std::string::npos ? 0 : strtol(text.c_str() + at + words.size(), nullptr, base);
}

Outcome Debugfs(const std::string& image, const std::string& request) {
  return Execute({"debugfs", "-R", request, image});
}

off_t BlockSizeOf(const std::string& image) {
  return NumberAfter(Debugfs(image, "show_super_stats -h").out, "Block size:", 10);
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
  // mkfs.btrfs looks at all mounts, and fails while one of another test is dead.
  AssertionResult made = AssertionFailure();
  const auto succeeds = [&] {
    made = Succeeds(command);
    return static_cast<bool>(made);
  };
  if (!WaitFor(succeeds, std::chrono::seconds(10))) return made;
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
  const UniqueFd image(open(image_.c_str(), O_RDONLY | O_CLOEXEC));
  const size_t size = std::filesystem::file_size(image_);
  void* const disk = mmap(nullptr, size, PROT_READ, MAP_SHARED, image.get(), 0);
  if (disk == MAP_FAILED) return AssertionFailure() << "map " << image_;
  const void* const found = memmem(disk, size, content.data(), content.size());
  const auto at = static_cast<const char*>(found) - static_cast<const char*>(disk);
  munmap(disk, size);
  if (found == nullptr) return AssertionFailure() << "not found on " << image_;
  if (AssertionResult flipped = FlipByteAt(at); !flipped) return flipped;
  return MountImage();
}

AssertionResult LoopDisk::DamageInode(const std::string& path) {
  const AssertionResult unmounted = Unmount();
  if (!unmounted) return unmounted;
  const Outcome where = Debugfs(image_, "imap \"" + path + "\"");
  const off_t block_size = BlockSizeOf(image_);
  const off_t block = NumberAfter(where.out, "located at block ", 10);
  if (block_size == 0 || block == 0) {
    return AssertionFailure() << "find inode of " << path << ": " << where;
  }
  constexpr off_t kModifyTime = 0x10;  // in the inode
  const off_t inode = block * block_size + NumberAfter(where.out, ", offset ", 16);
  if (AssertionResult flipped = FlipByteAt(inode + kModifyTime); !flipped) return flipped;
  return MountImage();
}

AssertionResult LoopDisk::DamageDirectory(const std::string& path) {
  const AssertionResult unmounted = Unmount();
  if (!unmounted) return unmounted;
  const Outcome blocks = Debugfs(image_, "blocks \"" + path + "\"");
  const off_t block_size = BlockSizeOf(image_);
  const off_t block = NumberAfter(blocks.out, "", 10);
  if (block_size == 0 || block == 0) {
    return AssertionFailure() << "find block of " << path << ": " << blocks;
  }
  // In the middle nothing is but what belongs to the checksum.
  if (auto flipped = FlipByteAt(block * block_size + block_size / 2); !flipped) return flipped;
  return MountImage();
}

AssertionResult LoopDisk::Repair() {
  const AssertionResult unmounted = Unmount();
  if (!unmounted) return unmounted;
  const Outcome repaired = Execute({"e2fsck", "-f", "-y", image_});
  constexpr int kRepaired = 1;
  if (repaired.code != kRepaired) return AssertionFailure() << "e2fsck: " << repaired;
  return MountImage();
}

AssertionResult LoopDisk::FlipByteAt(off_t at) {
  const UniqueFd image(open(image_.c_str(), O_RDWR | O_CLOEXEC));
  char byte = 0;
  if (pread(image.get(), &byte, 1, at) != 1) return AssertionFailure() << "read " << image_;
  byte = static_cast<char>(~byte);
  if (pwrite(image.get(), &byte, 1, at) != 1 || fsync(image.get()) != 0) {
    return AssertionFailure() << "write " << image_;
  }
  return AssertionSuccess();
}

}  // namespace tandem::test
