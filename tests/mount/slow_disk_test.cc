// A source whose disk makes everybody wait: frozen, it is as slow as disks can be. Others are
// answered meanwhile, no request is lost or fails, and cuts come afterwards.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class SlowDisk : public MountTest {
 protected:
  static constexpr int kWriters = 40;

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
    if (frozen_ && ioctl(root_.get(), FITHAW, 0) != 0) ADD_FAILURE() << strerror(errno);
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
      StartThread([this, i] {
        const UniqueFd fd(open(NameOf(i).c_str(), O_WRONLY | O_CLOEXEC));
        const std::string text = "written while frozen " + std::to_string(i);
        BeginsToWait();
        const bool written =
            pwrite(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
        ++(written ? written_ : failed_);
      });
    }
    ASSERT_TRUE(WaitFor([this, count] { return Waiting() >= count; })) << Waiting();
  }
  // Starts source and replica; kWriters wait for the frozen disk when it returns.
  void FreezeUnderWriters() {
    ASSERT_TRUE(StartBoth());
    MakeFiles(kWriters);
    ASSERT_TRUE(mount_.Sync());
    ASSERT_NO_FATAL_FAILURE(Freeze());
    StartWriters(kWriters);
  }
  void StartThread(std::function<void()> work) { writers_.emplace_back(std::move(work)); }
  // What the calling thread does next waits.
  void BeginsToWait() {
    const std::lock_guard<std::mutex> lock(mutex_);
    begun_.push_back(gettid());
  }
  // Threads that have begun to, and sleep.
  int Waiting() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int>(std::ranges::count_if(begun_, [](pid_t id) {
      std::ifstream file("/proc/self/task/" + std::to_string(id) + "/stat");
      std::string line;
      std::getline(file, line);
      const size_t name_end = line.rfind(") ");
      return name_end != line.npos && line[name_end + 2] != 'R';
    }));
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
  std::vector<std::thread> writers_;
  std::mutex mutex_;
  std::vector<pid_t> begun_;
  std::atomic<int> written_{0};
  std::atomic<int> failed_{0};
};

TEST_F(SlowDisk, OthersAreAnsweredWhileManyWritersWait) {
  ASSERT_NO_FATAL_FAILURE(FreezeUnderWriters());
  ExpectOthersAreAnswered();
  EXPECT_EQ(written_, 0);
  Thaw();
  ExpectNothingIsLost(kWriters);
}

// More requests wait than threads may: the rest is put off.
TEST_F(SlowDisk, OthersAreAnsweredWhileMoreWritersWaitThanThereAreThreadsFor) {
  mount_.options().more = {"-o", "max_threads=2,io_uring=off"};
  ASSERT_NO_FATAL_FAILURE(FreezeUnderWriters());
  ExpectOthersAreAnswered();
  Thaw();
  ExpectNothingIsLost(kWriters);
}

// Creating waits inside the gate, where no cut can be taken.
TEST_F(SlowDisk, ACutThatWaitsForItComesAfterwards) {
  ASSERT_TRUE(StartBoth());
  MakeFiles(1);
  // Apart, for the kernel lets nobody look up names where somebody makes one.
  const std::string apart = mount_.path() + "/apart";
  std::filesystem::create_directory(apart);
  ASSERT_TRUE(mount_.Sync());
  Freeze();
  constexpr int kMakers = 20;
  for (int i = 0; i < kMakers; ++i) {
    StartThread([this, &apart, i] {
      BeginsToWait();
      Write(apart + "/new" + std::to_string(i), "made");
    });
  }
  ASSERT_TRUE(WaitFor([this] { return Waiting() == kMakers; }));
  StartWriters(1);
  EXPECT_EQ(written_, 0);
  ExpectOthersAreAnswered();
  EXPECT_NE(mount_.Status(), nullptr);
  Thaw();
  ExpectNothingIsLost(1);
}

TEST_F(SlowDisk, TheMountEndsInOrderOnceItsDiskGoesOn) {
  ASSERT_NO_FATAL_FAILURE(FreezeUnderWriters());
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
