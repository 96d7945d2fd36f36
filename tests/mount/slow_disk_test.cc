// A source whose disk makes everybody wait: frozen, it is as slow as disks can be. Others are
// answered meanwhile, no request is lost or fails, and cuts come afterwards.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <thread>

#include "fs/fuse_api.h"
#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr size_t kMiB = 1 << 20;

class SlowDisk : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    disk_ = std::make_unique<LoopDisk>(scratch_, "disk", "ext4", source_);
    ASSERT_TRUE(disk_->Make(256 * kMiB));
    root_ = UniqueFd(open(source_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(root_.valid());
  }
  void TearDown() override {
    Thaw();
    for (std::thread& thread : writers_) thread.join();
    root_ = UniqueFd();
    MountTest::TearDown();
  }

  void Freeze() {
    ASSERT_EQ(ioctl(root_.get(), FIFREEZE, 0), 0) << strerror(errno);
    frozen_ = true;
  }
  void Thaw() {
    if (frozen_) EXPECT_EQ(ioctl(root_.get(), FITHAW, 0), 0) << strerror(errno);
    frozen_ = false;
  }

  // Each to a file of its own, made before.
  void MakeFiles(int count) {
    for (int i = 0; i < count; ++i) Write(NameOf(i), "before");
  }
  std::string NameOf(int i) const { return mount_.path() + "/file" + std::to_string(i); }
  // One request each, at the same time; returns when all of them wait.
  void StartWriters(int count) {
    for (int i = 0; i < count; ++i) {
      writers_.emplace_back([this, i] {
        const UniqueFd fd(open(NameOf(i).c_str(), O_WRONLY | O_CLOEXEC));
        const std::string text = "written while frozen " + std::to_string(i);
        const bool written =
            pwrite(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
        ++(written ? written_ : failed_);
      });
    }
    ASSERT_TRUE(WaitFor([this, count] { return Waiting() >= count; })) << Waiting();
  }
  // Requests that have no answer yet.
  int Waiting() {
    const std::string connection = std::to_string(minor(device_));
    int waiting = 0;
    std::ifstream("/sys/fs/fuse/connections/" + connection + "/waiting") >> waiting;
    return waiting;
  }
  ::testing::AssertionResult Start() {
    if (auto started = StartBoth(); !started) return started;
    device_ = Lstat(mount_.path()).st_dev;
    return ::testing::AssertionSuccess();
  }

  // Whether `what` comes to an end though the disk is frozen. Thaws it if not.
  bool EndsMeanwhile(std::function<void()> what) {
    std::future<void> done = std::async(std::launch::async, std::move(what));
    const bool ended = done.wait_for(seconds(30)) == std::future_status::ready;
    if (!ended) Thaw();
    return ended;
  }
  void ExpectOthersAreAnswered() {
    EXPECT_TRUE(EndsMeanwhile([this] {
      for (int i = 0; i < 50; ++i) {
        EXPECT_NE(access((mount_.path() + "/none" + std::to_string(i)).c_str(), F_OK), 0);
        struct statvfs statistics;
        EXPECT_EQ(statvfs(mount_.path().c_str(), &statistics), 0);
      }
    }));
  }
  void ExpectNothingIsLost(int count) {
    for (std::thread& thread : writers_) thread.join();
    writers_.clear();
    EXPECT_EQ(written_, count);
    EXPECT_EQ(failed_, 0);
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(Read(source_ + "/file" + std::to_string(i)),
                "written while frozen " + std::to_string(i));
    }
    EXPECT_TRUE(Converges());
    EXPECT_EQ(mount_.Verify().code, 0);
  }

  std::unique_ptr<LoopDisk> disk_;
  UniqueFd root_;
  bool frozen_ = false;
  dev_t device_ = 0;
  std::vector<std::thread> writers_;
  std::atomic<int> written_{0};
  std::atomic<int> failed_{0};
};

TEST_F(SlowDisk, OthersAreAnsweredWhileManyWritersWait) {
  constexpr int kWriters = 40;
  ASSERT_TRUE(Start());
  MakeFiles(kWriters);
  ASSERT_TRUE(mount_.Sync());
  Freeze();
  StartWriters(kWriters);
  ExpectOthersAreAnswered();
  EXPECT_EQ(written_, 0);
  Thaw();
  ExpectNothingIsLost(kWriters);
}

// More requests wait than threads may: the rest is put off.
TEST_F(SlowDisk, OthersAreAnsweredWhileMoreWritersWaitThanThereAreThreadsFor) {
  constexpr int kWriters = 40;
  mount_.options().more = {"-o", "max_threads=2,no_io_uring"};
  ASSERT_TRUE(Start());
  MakeFiles(kWriters);
  ASSERT_TRUE(mount_.Sync());
  Freeze();
  StartWriters(kWriters);
  ExpectOthersAreAnswered();
  Thaw();
  ExpectNothingIsLost(kWriters);
}

// Creating waits inside the gate, where no cut can be taken.
TEST_F(SlowDisk, ACutThatWaitsForItComesAfterwards) {
  ASSERT_TRUE(Start());
  MakeFiles(1);
  ASSERT_TRUE(mount_.Sync());
  Freeze();
  std::vector<std::thread> makers;
  for (int i = 0; i < 20; ++i) {
    makers.emplace_back([this, i] { Write(mount_.path() + "/new" + std::to_string(i), "made"); });
  }
  EXPECT_TRUE(WaitFor([this] { return Waiting() > 0; }));
  StartWriters(1);
  ExpectOthersAreAnswered();
  EXPECT_NE(mount_.Status(), nullptr);
  Thaw();
  for (std::thread& maker : makers) maker.join();
  ExpectNothingIsLost(1);
}

TEST_F(SlowDisk, TheMountEndsInOrderOnceItsDiskGoesOn) {
  constexpr int kWriters = 40;
  ASSERT_TRUE(Start());
  MakeFiles(kWriters);
  ASSERT_TRUE(mount_.Sync());
  Freeze();
  StartWriters(kWriters);
  mount_.process().Signal(SIGTERM);
  EXPECT_FALSE(mount_.process().Wait(milliseconds(300)));
  Thaw();
  EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
  for (std::thread& thread : writers_) thread.join();
  writers_.clear();
  EXPECT_EQ(written_ + failed_, kWriters);
  EXPECT_EQ(failed_, 0);
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
