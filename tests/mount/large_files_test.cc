// What a small edit of a large file costs.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr uint64_t kGiB = 1 << 30;

class Invariant7CostFollowsChange_LargeFiles : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }

  // Bytes sent, and time taken, from here on until all is applied.
  struct Cost {
    uint64_t bytes;
    milliseconds time;
  };
  template <typename Change>
  Cost CostOf(Change change) {
    EXPECT_TRUE(mount_.Sync());
    const uint64_t before = mount_.SentBytes();
    const auto start = Clock::now();
    change();
    EXPECT_TRUE(mount_.Sync());
    const auto time = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    return {mount_.SentBytes() - before, time};
  }

  std::string large() const { return mount_.path() + "/large"; }
};

TEST_F(Invariant7CostFollowsChange_LargeFiles, AnEditOfASparseFileOf100GiBSendsTheEdit) {
  WriteAt(large(), 0, RandomBytes(4096, 1));
  ASSERT_EQ(0, truncate(large().c_str(), 100 * kGiB));
  const Cost cost = CostOf([&] { WriteAt(large(), 77 * kGiB + 123, RandomBytes(4096, 2)); });
  EXPECT_LE(cost.bytes, 8192u);
  EXPECT_LT(cost.time, seconds(2));
  EXPECT_TRUE(Converges());
}

TEST_F(Invariant7CostFollowsChange_LargeFiles, AnEditOfAFileOf100MiBSendsTheEdit) {
  Write(large(), RandomBytes(100 * kMiB));
  const Cost cost = CostOf([&] { WriteAt(large(), 50 * kMiB + 1, RandomBytes(4096, 2)); });
  EXPECT_LE(cost.bytes, 8192u);
  EXPECT_LT(cost.time, seconds(2));
  EXPECT_TRUE(Converges());
}

TEST_F(Invariant7CostFollowsChange_LargeFiles, AFileRenamedOverItsOlderFormTravelsAsADelta) {
  std::string content = RandomBytes(24 * kMiB);
  Write(large(), content);
  ASSERT_TRUE(Converges());
  content.insert(5 * kMiB, RandomBytes(1000, 3));
  content.erase(17 * kMiB, 500);
  // Not seen until it has its final name.
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  Write(large() + ".new", content);
  std::filesystem::rename(large() + ".new", large());
  const uint64_t before = mount_.SentBytes();
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes() - before, kMiB);
}

TEST_F(Invariant7CostFollowsChange_LargeFiles, AfterAKillAHotRegionIsComparedNotSent) {
  Write(large(), RandomBytes(64 * kMiB));
  ASSERT_TRUE(Converges());
  // Cold, but for the one region.
  ASSERT_TRUE(WaitFor([&] { return mount_.Status()["hot_objects"] == 0; }));
  WriteAt(large(), 33 * kMiB, RandomBytes(4096, 2));
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes(), kMiB);
}

TEST_F(Invariant7CostFollowsChange_LargeFiles, SettingTheSizeOfASparseFileSendsAlmostNothing) {
  Write(large(), "start");
  const Cost cost = CostOf([&] {
    EXPECT_EQ(0, truncate(large().c_str(), 100 * kGiB));
    EXPECT_EQ(0, truncate(large().c_str(), 3 * kGiB));
  });
  EXPECT_LE(cost.bytes, 8192u);
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
