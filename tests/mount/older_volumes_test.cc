// Volumes and databases that older versions have made go on as they are.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// Its ids are all hash. Versions that knew no other did not say so.
class VolumeOfHashedIds : public MountTest {
 protected:
  static constexpr uint64_t kContent = 4 << 20;
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    stdfs::create_directories(mount_.options().state);
    Write(
        mount_.options().state + "/volume.json",
        std::string(R"({"name":")") + kVolume + R"(","uuid":"00112233445566778899aabbccddeeff"})");
    MakeEveryKind(source_);
    Write(source_ + "/content", RandomBytes(kContent));
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
    ASSERT_GT(mount_.SentBytes(), kContent);
  }
  std::string Database() { return mount_.options().state + "/state.db"; }
};

TEST_F(VolumeOfHashedIds, GoesOnAfterAnUpgradeAndAKill) {
  ASSERT_TRUE(mount_.Unmount());
  const std::string make_old = "PRAGMA user_version=3; SELECT count(*) FROM volume WHERE key='ids'";
  const Outcome made_old = Execute({"sqlite3", "-batch", "-bail", Database(), make_old});
  ASSERT_EQ(made_old.out, "0\n") << made_old;
  ASSERT_TRUE(mount_.Start());
  WriteAt(mount_.path() + "/content", 1'000'000, "changed");
  ChangeEveryKind(mount_.path());
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_THAT(mount_.process().err(), Not(HasSubstr("reconciling")));
  EXPECT_LT(mount_.SentBytes(), kContent / 2);
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(VolumeOfHashedIds, KeepsThemWhenItsDatabaseIsLost) {
  ASSERT_TRUE(mount_.Unmount());
  stdfs::remove(Database());
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_THAT(mount_.process().err(), HasSubstr("reconciling"));
  EXPECT_LT(mount_.SentBytes(), kContent / 2) << "the replica knows all objects";
  EXPECT_EQ(mount_.Verify().code, 0);
}

}  // namespace
}  // namespace tandem::test
