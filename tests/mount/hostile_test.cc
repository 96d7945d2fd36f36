// Hostile peers at the daemon's door (tests/programs/hostile_client.cc), and an honest source
// beside them: its syncs stay quick, and what the attack took is given back when it is over.
#include <filesystem>

#include "tests/endurance.h"
#include "tests/files.h"
#include "tests/link.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class Hostile : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    replica_.more() = {"--listen", ipc_};
    ASSERT_TRUE(StartBoth());
    endurance_.Begin();
  }
  void Endure(const std::string& mode, const std::string& url,
              const std::vector<std::string>& options = {}) {
    endurance_.Endure(AttackOn(url, mode, options));
  }
  void EndureBoth(const std::string& mode, const std::vector<std::string>& options = {}) {
    Endure(mode, replica_.url(), options);
    Endure(mode, ipc_, options);
    EXPECT_TRUE(Converges());
  }

  const std::string ipc_ = "ipc://" + scratch_.Path("socket");
  Endurance endurance_{mount_, replica_};
};

TEST_F(Hostile, GarbageDelaysNobody) { EndureBoth("garbage"); }

TEST_F(Hostile, OtherProtocolsDelayNobody) {
  EndureBoth("greetings");
  EndureBoth("old");
}

TEST_F(Hostile, TwoThousandConnectionsDelayNobody) {
  Endure("idle", replica_.url(), {"count=2000"});
  Endure("greeted", replica_.url(), {"count=400"});
  EXPECT_TRUE(Converges());
}

TEST_F(Hostile, IdleConnectionsOfThisHostDelayNobody) {
  Endure("idle", ipc_, {"count=400"});
  Endure("greeted", ipc_, {"count=400"});
  EXPECT_TRUE(Converges());
}

TEST_F(Hostile, HalfFramesDelayNobodyAndTakeNoMemory) {
  EndureBoth("half");
  EndureBoth("huge");
}

TEST_F(Hostile, PeersThatNeverReadDelayNobody) { EndureBoth("never-read"); }

TEST_F(Hostile, SlowPeersDelayNobody) { EndureBoth("slow"); }

TEST_F(Hostile, FloodsOfVolumesDelayNobody) { EndureBoth("hellos"); }

TEST_F(Hostile, FloodsOfStagesDelayNobody) { EndureBoth("begins"); }

TEST_F(Hostile, NumbersAtTheEndDelayNobody) { EndureBoth("odd"); }

TEST_F(Hostile, BombsDelayNobodyAndTakeNoMemory) { EndureBoth("bombs"); }

TEST_F(Hostile, ASessionThatIsReplayedChangesNothing) {
  Link link{replica_.url()};
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas = {"one=" + link.url()};
  ASSERT_TRUE(mount_.Start());
  (void)endurance_.SlowestSync(milliseconds(200));
  const std::string bytes = scratch_.Path("recorded");
  Write(bytes, link.Recorded(true));
  ASSERT_GT(std::filesystem::file_size(bytes), 1000u);
  Endure("replay", replica_.url(), {"bytes=" + bytes});
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

}  // namespace
}  // namespace tandem::test
