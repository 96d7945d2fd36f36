// Random operations of every kind from several threads and processes; then the trees are the same.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class Convergence : public MountTest {
 protected:
  void Work(uint64_t seed, std::vector<std::string> arguments) {
    const Outcome outcome = Execute(Workload(mount_.path(), seed, std::move(arguments)));
    EXPECT_EQ(outcome.code, 0) << outcome;
  }
  void ExpectIdentical() {
    EXPECT_TRUE(Converges());
    EXPECT_TRUE(SameTrees(source_, mount_.path()));
    const Outcome verified = mount_.Verify();
    EXPECT_EQ(verified.code, 0) << verified;
  }
};

TEST_F(Convergence, OfOneThreadWithAFixedSeed) {
  ASSERT_TRUE(StartBoth());
  Work(20240229, {"--ops", "6000"});
  ExpectIdentical();
}

TEST_F(Convergence, OfThreadsAndProcessesWithAFixedSeed) {
  ASSERT_TRUE(StartBoth());
  Work(4711, {"--ops", "1200", "--threads", "3", "--processes", "2"});
  ExpectIdentical();
}

TEST_F(Convergence, OfThreadsAndProcessesWithAFreshSeed) {
  ASSERT_TRUE(StartBoth());
  Work(FreshSeed(), {"--ops", Times(1200, 20'000) == 1200 ? "1200" : "20000", "--threads", "2",
                     "--processes", "3"});
  ExpectIdentical();
}

TEST_F(Convergence, OfADirectoryMountedOverItself) {
  mount_.options().mountpoint = source_;
  ASSERT_TRUE(StartBoth());
  Work(FreshSeed(), {"--ops", "1000", "--threads", "2"});
  EXPECT_TRUE(Converges());
}

TEST_F(Convergence, WithTheWritebackCache) {
  mount_.options().more = {"-o", "writeback"};
  ASSERT_TRUE(StartBoth());
  Work(FreshSeed(), {"--ops", "1000", "--threads", "2"});
  EXPECT_TRUE(Converges());
}

TEST_F(Convergence, WithRareCuts) {
  mount_.options().more = {"--interval", "700"};
  ASSERT_TRUE(StartBoth());
  Work(FreshSeed(), {"--ops", "1500", "--threads", "2"});
  ExpectIdentical();
}

// ext4 puts the whiteout in place, and takes it back when the rename fails: the time stays.
TEST_F(Convergence, AFailedRenameThatSetsATimeTravels) {
  const std::string directory = source_ + "/directory";
  std::filesystem::create_directories(directory + "/moved");
  std::filesystem::create_directories(source_ + "/other/full/below");
  const timespec before[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, directory.c_str(), before, 0), 0);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  struct stat seen;
  ASSERT_EQ(stat((mount_.path() + "/directory").c_str(), &seen), 0);
  ASSERT_EQ(renameat2(AT_FDCWD, (mount_.path() + "/directory/moved").c_str(), AT_FDCWD,
                      (mount_.path() + "/other/full").c_str(), RENAME_WHITEOUT),
            -1);
  ASSERT_EQ(errno, ENOTEMPTY);
  EXPECT_TRUE(mount_.Sync());
  ExpectIdentical();
}

}  // namespace
}  // namespace tandem::test
