// Requests over io_uring, which a mount turns on where the kernel can. Off again after each test.
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr char kParameter[] = "/sys/module/fuse/parameters/enable_uring";

std::string Parameter() {
  std::string value;
  std::ifstream(kParameter) >> value;
  return value;
}

bool SetParameter(const std::string& value) {
  std::ofstream(kParameter) << value << std::flush;
  return Parameter() == value;
}

// The calling thread, and those it starts, run on this processor while it lives.
class OnProcessor {
 public:
  explicit OnProcessor(int processor) {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    EXPECT_EQ(0, sched_setaffinity(0, sizeof set, &set)) << strerror(errno);
  }
  OnProcessor(const OnProcessor&) = delete;
  OnProcessor& operator=(const OnProcessor&) = delete;
  ~OnProcessor() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_;
};

class IoUring : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    before_ = Parameter();
    if (!SetParameter("N")) GTEST_SKIP() << "this kernel has no FUSE over io_uring";
  }
  void TearDown() override {
    if (!before_.empty()) SetParameter(before_);
    MountTest::TearDown();
  }
  bool InUse() {
    const Outcome status = mount_.Tandem("status");
    return status.out.find("requests come over io_uring") != std::string::npos;
  }

 private:
  std::string before_;
};

// A ring handles one request after the other: what is taken in comes while something waits for it.
TEST_F(IoUring, StoresThroughMappingsAreTakenInBySyncAndAtTheEnd) {
  ASSERT_TRUE(StartBoth());
  Process held(Launch{{Program("tests/map_writer"), mount_.path() + "/mapped", "2000", "stored"}});
  ASSERT_TRUE(WaitFor([&] { return held.out() == "dirty\n"; })) << held.err();
  const auto pages = [](const std::string& path) {
    const std::string content = Read(path);
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_t count = 0;
    for (size_t at = 0; at < content.size(); at += page) {
      if (content.compare(at, 6, "stored") == 0) ++count;
    }
    return count;
  };
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(InUse()) << mount_.Tandem("status");
  EXPECT_EQ(pages(replica_.tree() + "/mapped"), 2000u);
  Process later(Launch{{Program("tests/map_writer"), mount_.path() + "/later", "2000", "stored"}});
  ASSERT_TRUE(WaitFor([&] { return later.out() == "dirty\n"; })) << later.err();
  mount_.process().Signal(SIGTERM);
  EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
  EXPECT_EQ(pages(source_ + "/later"), 2000u);
}

TEST_F(IoUring, CarriesEverything) {
  ASSERT_TRUE(StartBoth());
  for (const char* threads : {"1", "4"}) {
    const Outcome outcome =
        Execute(Workload(mount_.path(), FreshSeed(), {"--ops", "1500", "--threads", threads}));
    EXPECT_EQ(outcome.code, 0) << outcome;
  }
  EXPECT_TRUE(InUse()) << mount_.Tandem("status");
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(SameTrees(source_, mount_.path()));
  ASSERT_TRUE(mount_.Unmount());
}

TEST_F(IoUring, KilledInTheMiddleNothingIsLost) {
  ASSERT_TRUE(StartBoth());
  Process workload(Workload(mount_.path(), FreshSeed(),
                            {"--seconds", "0", "--threads", "3", "--tolerate-disconnect"}));
  ASSERT_TRUE(WaitFor([this] { return InUse(); }));
  mount_.Kill();
  EXPECT_TRUE(StopWorkload(workload));
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(IoUring, EndedInTheMiddleNothingIsLost) {
  ASSERT_TRUE(StartBoth());
  for (int i = 0; i < Times(5, 50); ++i) {
    Process workload(Workload(mount_.path(), FreshSeed(),
                              {"--seconds", "0", "--threads", "3", "--tolerate-disconnect"}));
    ASSERT_TRUE(WaitFor([this] { return InUse(); }));
    mount_.process().Signal(SIGTERM);
    EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
    EXPECT_TRUE(StopWorkload(workload));
    ASSERT_TRUE(mount_.Start());
    EXPECT_TRUE(Converges());
  }
}

// Over libfuse's own rings, one thread handles all requests of a processor: the first that waited
// for the disk held up the rest.
TEST_F(IoUring, WhatWaitsForTheDiskHoldsUpNothingElseOfItsProcessor) {
  LoopDisk disk(scratch_, "disk", "ext4", source_);
  ASSERT_TRUE(disk.Make(256 * kMiB));
  ASSERT_TRUE(StartBoth());
  constexpr int kWriters = 40;
  for (int i = 0; i < kWriters; ++i) Write(mount_.path() + "/" + std::to_string(i), "before");
  ASSERT_TRUE(mount_.Sync());
  const OnProcessor bound(0);
  UniqueFd root(open(source_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(0, ioctl(root.get(), FIFREEZE, 0));
  std::vector<std::thread> writers;
  std::atomic<int> begun{0};
  std::atomic<int> written{0};
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      const UniqueFd file(
          open((mount_.path() + "/" + std::to_string(i)).c_str(), O_WRONLY | O_CLOEXEC));
      ++begun;
      if (pwrite(file.get(), "after", 5, 0) == 5) ++written;
    });
  }
  EXPECT_TRUE(WaitFor([&] { return begun == kWriters; }));
  std::future<void> others = std::async(std::launch::async, [&] {
    const OnProcessor here(0);
    struct stat found;
    for (int i = 0; i < 50; ++i) {
      EXPECT_NE(0, stat((mount_.path() + "/none" + std::to_string(i)).c_str(), &found));
    }
  });
  EXPECT_EQ(others.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_EQ(written, 0);
  EXPECT_EQ(0, ioctl(root.get(), FITHAW, 0));
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(written, kWriters);
  others.wait();
  EXPECT_TRUE(InUse());
  EXPECT_TRUE(Converges());
  ASSERT_TRUE(mount_.Unmount());
  root.Reset();
}

TEST_F(IoUring, AProcessorMayBeTakenAwayAndComeBack) {
  constexpr char kOnline[] = "/sys/devices/system/cpu/cpu1/online";
  if (access(kOnline, W_OK) != 0) GTEST_SKIP() << "no processor here can be taken away";
  ASSERT_TRUE(StartBoth());
  Process workload(Workload(mount_.path(), FreshSeed(), {"--ops", "3000", "--threads", "3"}));
  for (int i = 0; i < 3; ++i) {
    Write(kOnline, "0");
    Write(mount_.path() + "/without", std::to_string(i));
    Write(kOnline, "1");
    const OnProcessor there(1);
    EXPECT_EQ(Read(mount_.path() + "/without"), std::to_string(i));
  }
  EXPECT_EQ(workload.Wait(), 0) << workload.err();
  EXPECT_TRUE(InUse());
  EXPECT_TRUE(Converges());
}

// Processes that wait for disks are counted in /proc/stat, and monitoring looks at that.
TEST_F(IoUring, AnIdleMountDoesNotLookLikeABusyDisk) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(WaitFor([this] { return access(mount_.path().c_str(), F_OK) == 0 && InUse(); }));
  EXPECT_TRUE(WaitFor([] {
    std::ifstream stat("/proc/stat");
    for (std::string word; stat >> word;) {
      int blocked = 0;
      if (word == "procs_blocked" && stat >> blocked) return blocked < 100;
    }
    return false;
  }));
}

TEST_F(IoUring, IsLeftAloneWhereAskedTo) {
  mount_.options().more = {"-o", "io_uring=off"};
  ASSERT_TRUE(StartBoth());
  Write(mount_.path() + "/file", "text");
  EXPECT_FALSE(InUse());
  EXPECT_EQ(Parameter(), "N");
}

TEST_F(IoUring, IsTurnedOnWhereItIsOff) {
  ASSERT_TRUE(StartBoth());
  Write(mount_.path() + "/file", "text");
  EXPECT_TRUE(InUse()) << mount_.Tandem("status");
  EXPECT_EQ(Parameter(), "Y");
  EXPECT_NE(mount_.process().err().find("turned on"), std::string::npos);
}

TEST_F(IoUring, WhereItCannotBeTurnedOnToAskForItIsRefused) {
  mount_.options().under = {"unshare",
                            "--mount",
                            "--propagation",
                            "private",
                            "sh",
                            "-c",
                            "mount -o remount,bind,ro /sys && exec \"$@\"",
                            "sh"};
  mount_.options().more = {"-o", "io_uring=on"};
  const Outcome refused = Execute(mount_.Command());
  EXPECT_EQ(refused.code, 2) << refused;
  EXPECT_NE(refused.err.find("io_uring=on: this kernel does not offer"), std::string::npos)
      << refused;
}

// As in a container whose filter of system calls forbids it.
TEST_F(IoUring, WhereNoRingCanBeMadeRequestsComeOverTheDevice) {
  std::string before;
  std::ifstream("/proc/sys/kernel/io_uring_disabled") >> before;
  if (before.empty()) GTEST_SKIP() << "this kernel cannot turn io_uring off";
  Write("/proc/sys/kernel/io_uring_disabled", "2");
  EXPECT_TRUE(StartBoth());
  Write(mount_.path() + "/file", "text");  // from now on it is decided
  Write("/proc/sys/kernel/io_uring_disabled", before);
  EXPECT_FALSE(InUse());
  EXPECT_TRUE(Converges());
  const std::string log = mount_.process().err();
  const size_t said = log.find("requests come over /dev/fuse");
  EXPECT_NE(said, std::string::npos) << log;
  EXPECT_EQ(log.find("requests come over /dev/fuse", said + 1), std::string::npos) << "said once";
}

TEST_F(IoUring, WithFewDescriptorsItTakesFew) {
  mount_.options().under = {"sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"};
  ASSERT_TRUE(StartBoth());
  for (int i = 0; i < 400; ++i) Write(mount_.path() + "/" + std::to_string(i), "text");
  EXPECT_TRUE(InUse());
  EXPECT_TRUE(Converges());
}

TEST_F(IoUring, AnUnknownValueEndsTheStart) {
  mount_.options().more = {"-o", "io_uring=perhaps"};
  const Outcome outcome = Execute(mount_.Command());
  EXPECT_EQ(outcome.code, 2) << outcome;
  EXPECT_NE(outcome.err.find("auto, on or off"), std::string::npos) << outcome;
}

}  // namespace
}  // namespace tandem::test
