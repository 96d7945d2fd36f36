// What older versions have left is taken over: tests/fixtures has an image of each, made by
// tests/fixtures/make.sh, with a source, its state, and a store that lacks the last changes.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class Upgrade : public MountTest {
 protected:
  void TearDown() override {
    mount_.Kill();
    Execute({"umount", "-l", "-q", disk_ + "/mount"});
    Execute({"umount", "-l", "-q", disk_});
    MountTest::TearDown();
  }
  void MountFixture(const std::string& fixture) {
    const std::string image = scratch_.Path("image");
    const Outcome unpacked = Execute({"zstd", "-q", "-d", "-f", fixture, "-o", image});
    ASSERT_EQ(unpacked.code, 0) << unpacked;
    const Outcome mounted = Execute({"mount", "-o", "loop", image, disk_});
    ASSERT_EQ(mounted.code, 0) << mounted;
  }

  const std::string disk_ = scratch_.Directory("disk");
};

std::vector<std::string> Fixtures() {
  std::vector<std::string> found;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TANDEM_SOURCE_DIR) + "/tests/fixtures")) {
    if (entry.path().extension() == ".zst") found.push_back(entry.path());
  }
  return found;
}

TEST_F(Upgrade, FromEveryVersionThereIsAFixtureOf) {
  ASSERT_FALSE(Fixtures().empty());
  for (const std::string& fixture : Fixtures()) {
    SCOPED_TRACE(fixture);
    ASSERT_NO_FATAL_FAILURE(MountFixture(fixture));
    ReplicaDaemon replica(scratch_, "old", disk_ + "/store");
    ASSERT_TRUE(replica.Start());
    Mount mount({.source = disk_ + "/source",
                 .mountpoint = disk_ + "/mount",
                 .state = disk_ + "/state",
                 .replicas = {"one=" + replica.url()}});
    ASSERT_TRUE(mount.Start());
    // It is as it was left: paused, and behind.
    EXPECT_EQ(mount.State(), "paused");
    EXPECT_EQ(Read(replica.tree() + "/directory/1"), "file 1\n");
    EXPECT_EQ(Read(disk_ + "/mount/directory/1"), "changed\n");
    ASSERT_EQ(mount.Tandem("resume").code, 0);
    EXPECT_TRUE(test::Converges(mount, replica));
    EXPECT_LT(mount.SentBytes(), 64u << 10) << "only what has changed was sent";
    EXPECT_EQ(mount.Verify().code, 0);
    Write(disk_ + "/mount/later", "text");
    EXPECT_TRUE(test::Converges(mount, replica));
    ASSERT_TRUE(mount.Unmount());
    ASSERT_TRUE(replica.Stop());
    ASSERT_EQ(umount2(disk_.c_str(), 0), 0);
  }
}

}  // namespace
}  // namespace tandem::test
