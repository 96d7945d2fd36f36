// First copies, and starting against a replica that has the volume already.
#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using Seeding = MountTest;

void MakeFiles(const std::string& directory, int count, size_t size) {
  for (int i = 0; i < count; ++i) {
    const std::string below = directory + "/" + std::to_string(i % 10);
    std::filesystem::create_directories(below);
    Write(below + "/" + std::to_string(i), RandomBytes(size, static_cast<uint64_t>(i)));
  }
}

TEST_F(Seeding, ATreeIsCopiedWhileItIsBeingChanged) {
  ASSERT_EQ(Execute(Workload(source_, 1, {"--ops", "3000", "--threads", "2"})).code, 0);
  MakeFiles(source_, 1000, 50'000);
  ASSERT_TRUE(StartBoth());
  Process workload(Workload(mount_.path(), FreshSeed(), {"--ops", "1500", "--threads", "2"}));
  EXPECT_TRUE(WaitFor([&] { return mount_.State() == "seeding" || !workload.running(); }));
  EXPECT_EQ(workload.Wait(), 0) << workload.err();
  EXPECT_TRUE(Converges());
}

TEST_F(Seeding, SyncReturnsOnlyWhenTheSeedIsApplied) {
  MakeFiles(source_, 500, 100'000);
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(Seeding, ManySmallFilesAndDeepDirectoriesAreCopied) {
  std::string deep = source_;
  for (int level = 0; level < 150; ++level) deep += "/level";
  std::filesystem::create_directories(deep);
  Write(deep + "/file", "far down\n");
  MakeFiles(source_, 5000, 100);
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(Converges());
}

class Invariant7CostFollowsChange : public MountTest {
 protected:
  // A volume of 32 MiB that is in sync.
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    MakeFiles(source_, 320, 100'000);
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
    ASSERT_GT(mount_.SentBytes(), 30 * kMiB);
  }
};

TEST_F(Invariant7CostFollowsChange, ACleanRestartSendsOnlyWhatChanged) {
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_LT(mount_.SentBytes(), 8192u);
  WriteAt(mount_.path() + "/0/10", 50'000, RandomBytes(4096, 99));
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes(), 16'384u);
}

TEST_F(Invariant7CostFollowsChange, AfterAKillOnlyWhatWasHotIsCompared) {
  WriteAt(mount_.path() + "/0/10", 50'000, RandomBytes(4096, 99));
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes(), 250'000u);
}

TEST_F(Invariant7CostFollowsChange, ARestartedReplicaIsSentOnlyWhatChanged) {
  const uint64_t before = mount_.SentBytes();
  ASSERT_TRUE(replica_.Stop());
  WriteAt(mount_.path() + "/0/10", 50'000, RandomBytes(4096, 99));
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes() - before, 16'384u);
}

TEST_F(Invariant7CostFollowsChange, RenamingADirectoryCostsItsEntriesNothing) {
  const uint64_t before = mount_.SentBytes();
  std::filesystem::rename(mount_.path() + "/3", mount_.path() + "/three");
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes() - before, 4096u);
}

using Invariant2ClearAfterSafe = MountTest;

TEST_F(Invariant2ClearAfterSafe, ChangesSurviveRestartsWhileTheReplicaIsAway) {
  ASSERT_TRUE(StartBoth());
  MakeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  replica_.Kill();
  ChangeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/later", "written after the first restart\n");
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
