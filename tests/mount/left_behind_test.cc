// More changes than are remembered: the replica that is furthest behind is let go, and compared as
// a whole when it is there again. Nothing is lost, and nobody else notices.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

constexpr int kRemembered = 300;

class Invariant8Bounded : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    mount_.options().more = {"--max-changes", std::to_string(kRemembered)};
    mount_.options().replicas.push_back("two=" + other_.url());
    for (int i = 0; i < 50; ++i) {
      Write(source_ + "/old" + std::to_string(i), RandomBytes(5000, static_cast<uint64_t>(i)));
    }
    ASSERT_TRUE(other_.Start());
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }

  // Many times what is remembered, of every kind.
  void ChangeALot() {
    const std::string root = mount_.path();
    for (int i = 0; i < 50; ++i) {
      WriteAt(root + "/old" + std::to_string(i), 100, "changed");
    }
    stdfs::rename(root + "/old0", root + "/renamed");
    stdfs::remove(root + "/old1");
    for (int directory = 0; directory < 5; ++directory) {
      const std::string path = root + "/new" + std::to_string(directory);
      stdfs::create_directory(path);
      for (int i = 0; i < 2 * kRemembered / 5; ++i) Write(path + "/" + std::to_string(i), "new");
    }
  }
  bool IsLetGo() {
    return WaitFor(
        [this] { return mount_.process().err().find("is compared") != std::string::npos; });
  }
  // What is remembered is what came since.
  void ExpectLittleRemembered() {
    EXPECT_TRUE(WaitFor([this] { return mount_.Status()["pending"]["objects"] <= kRemembered; }))
        << mount_.Status().dump(2);
  }
  void ExpectTheOtherGoesOn() {
    EXPECT_TRUE(mount_.Sync(120, "two"));
    EXPECT_TRUE(SameTrees(source_, other_.tree()));
  }

  ReplicaDaemon other_{scratch_, "other"};
};

TEST_F(Invariant8Bounded, APausedReplicaIsLetGoAndComparedLater) {
  ASSERT_EQ(mount_.Tandem("pause", {"--replica", "one"}).code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  ChangeALot();
  ASSERT_TRUE(IsLetGo());
  ExpectLittleRemembered();
  ExpectTheOtherGoesOn();
  EXPECT_TRUE(WaitFor([this] {
    return mount_.ReplicaError().find("will be compared") != std::string::npos;
  })) << mount_.Status().dump(2);
  EXPECT_EQ(mount_.Tandem("sync", {"--replica", "one", "--timeout", "1"}).code, 1);
  EXPECT_GT(mount_.ReplicaStatus()["lag_seconds"], 0);
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(mount_.WaitForState("current"));
}

TEST_F(Invariant8Bounded, AReplicaThatIsAwayIsLetGoEvenIfTheSourceIsKilledMeanwhile) {
  ASSERT_TRUE(replica_.Stop());
  ChangeALot();
  ASSERT_TRUE(IsLetGo());
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  ExpectTheOtherGoesOn();
  Write(mount_.path() + "/old2", "after the restart");
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
