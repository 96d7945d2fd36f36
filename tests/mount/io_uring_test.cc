// Requests over io_uring, which a mount turns on where the kernel can. Off again after each test.
#include <signal.h>
#include <unistd.h>

#include <fstream>

#include "tests/files.h"
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

TEST_F(IoUring, AnUnknownValueEndsTheStart) {
  mount_.options().more = {"-o", "io_uring=perhaps"};
  const Outcome outcome = Execute(mount_.Command());
  EXPECT_EQ(outcome.code, 2) << outcome;
  EXPECT_NE(outcome.err.find("auto, on or off"), std::string::npos) << outcome;
}

}  // namespace
}  // namespace tandem::test
