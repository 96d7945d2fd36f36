// Clocks that are a year off, of the source or of the backup host, from the start or set while
// everything runs: hosts trust each other, and replicas follow, all the same. Only an invitation is
// judged by a clock, the backup host's.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <ctime>

#include "tests/files.h"
#include "tests/mount_fixture.h"
#include "tests/wrong_clock.h"

namespace tandem::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Clocks : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    replica_.more() = {"--trusted-attributes"};
    replica_.Move({}, url_);
    MakeEveryKind(source_);
    // Of the last years, and of the next.
    const time_t now = time(nullptr);
    SetTimes(source_ + "/file", {now - 2 * kYear, 1}, {now - 2 * kYear, 999'999'999});
    Write(source_ + "/of-the-future", "later");
    SetTimes(source_ + "/of-the-future", {now + 2 * kYear, 5}, {now + 2 * kYear, 123'456'789});
  }
  // By the backup host's clock.
  void Invite() { InviteBy(replica_clock_.environment()); }
  void InviteBy(const Environment& environment) {
    const std::string token = scratch_.Path("token");
    ASSERT_TRUE(replica_.Invite("127.0.0.1:" + std::to_string(port_), token, {"--expires", "1h"},
                                environment));
    mount_.options().replicas = {"one=@" + token};
    mount_.options().environment["TANDEM_KEYS"] = scratch_.Path("keys");
  }
  ::testing::AssertionResult StartReplica() { return replica_.Start(replica_clock_.environment()); }
  ::testing::AssertionResult StartMount() { return mount_.Start(source_clock_.environment()); }
  ::testing::AssertionResult IsSame() {
    if (auto synced = mount_.Sync(); !synced) return synced;
    const Outcome verified = mount_.Verify({"--full"});
    if (verified.code != 0) return ::testing::AssertionFailure() << verified;
    return SameTrees(source_, replica_.tree(std::string("alice/") + kVolume));
  }
  // Status counts by no clock that can be set.
  void ExpectCurrentAndTrue() {
    EXPECT_TRUE(mount_.WaitForState("current")) << mount_.Status().dump(2);
    EXPECT_LT(mount_.ReplicaStatus()["lag_seconds"], 60.0);
    EXPECT_EQ(mount_.ReplicaError(), "");
  }

  const uint16_t port_ = FreePort();
  const std::string url_ = "tls://127.0.0.1:" + std::to_string(port_);
  WrongClock source_clock_{scratch_, "source.clock"};
  WrongClock replica_clock_{scratch_, "replica.clock"};
  uint64_t changes_ = 0;
};

class AYearOff : public Clocks, public ::testing::WithParamInterface<int64_t> {};

TEST_P(AYearOff, OnTheSourceFromTheStartChangesNothing) {
  source_clock_.Set(GetParam());
  ASSERT_TRUE(StartReplica());
  Invite();
  ASSERT_TRUE(StartMount());
  EXPECT_TRUE(IsSame());
  ExpectCurrentAndTrue();
  const Json applied = Json::parse(Read(replica_.store() + "/alice/" + kVolume + "/applied"));
  EXPECT_NEAR(applied["wall_time_ns"].get<double>() / 1e9,
              static_cast<double>(time(nullptr) + GetParam()), 60);
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(IsSame());

  // Mended while it is not mounted, and changes wait.
  const uint64_t before = mount_.ReplicaStatus()["applied_cut"];
  replica_.Kill();
  Write(mount_.path() + "/while-away", "before the clock was set");
  ASSERT_TRUE(mount_.Unmount());
  source_clock_.Set(0);
  mount_.options().replicas = {"one=" + url_};
  ASSERT_TRUE(StartMount());
  EXPECT_TRUE(WaitFor([&] { return mount_.ReplicaStatus()["lag_seconds"] > 0.5; }));
  EXPECT_EQ(mount_.process().err().find("it was set back") != std::string::npos, GetParam() > 0);
  EXPECT_NE(mount_.State(), "current");
  ASSERT_TRUE(StartReplica());
  EXPECT_TRUE(IsSame());
  EXPECT_GT(mount_.ReplicaStatus()["applied_cut"], before);
  ExpectCurrentAndTrue();
  EXPECT_EQ(mount_.process().err().find("reconciling"), std::string::npos)
      << mount_.process().err();
}

TEST_P(AYearOff, OnTheBackupHostFromTheStartChangesNothing) {
  replica_clock_.Set(GetParam());
  ASSERT_TRUE(StartReplica());
  Invite();
  ASSERT_TRUE(StartMount());
  EXPECT_TRUE(IsSame());
  ExpectCurrentAndTrue();

  ASSERT_TRUE(replica_.Stop());
  replica_clock_.Set(0);
  ChangeEveryKind(mount_.path());
  ASSERT_TRUE(StartReplica());
  EXPECT_TRUE(IsSame());
  ExpectCurrentAndTrue();
  EXPECT_EQ(mount_.process().err().find("reconciling"), std::string::npos)
      << mount_.process().err();
}

TEST_P(AYearOff, SetWhileEverythingRunsChangesNothing) {
  ASSERT_TRUE(StartReplica());
  Invite();
  ASSERT_TRUE(StartMount());
  ASSERT_TRUE(IsSame());
  for (WrongClock* clock : {&source_clock_, &replica_clock_}) {
    for (const int64_t wrong_by : {GetParam(), int64_t{0}}) {
      ASSERT_EQ(mount_.Tandem("pause").code, 0);
      ASSERT_TRUE(mount_.WaitForState("paused"));
      Write(mount_.path() + "/file", RandomBytes(100'000, ++changes_));
      clock->Set(wrong_by);
      const double lag = mount_.ReplicaStatus()["lag_seconds"];
      EXPECT_GT(lag, 0);
      EXPECT_LT(lag, 60);
      ASSERT_EQ(mount_.Tandem("resume").code, 0);
      const auto begun = Clock::now();
      EXPECT_TRUE(mount_.Sync());
      EXPECT_LT(Clock::now() - begun, seconds(5));
      ExpectCurrentAndTrue();
    }
  }
  EXPECT_TRUE(IsSame());
  EXPECT_EQ(mount_.process().err().find("connecting"), std::string::npos) << mount_.process().err();
}

INSTANTIATE_TEST_SUITE_P(Clock, AYearOff, ::testing::Values(kYear, -kYear),
                         [](const auto& one) { return one.param > 0 ? "Ahead" : "Behind"; });

// Cuts are counted, not dated, so that clocks that differ by years are no matter. Only a count that
// a lying replica has driven up, to what the source's clock let it believe, can be too high for a
// replica whose clock is behind (meta/change/epoch_limit.h).
TEST_F(Clocks, ACountOfCutsThatIsTooHighByTheBackupHostsClockIsRefusedUntilThatIsSet) {
  ASSERT_TRUE(StartReplica());
  Invite();
  ASSERT_TRUE(StartMount());
  ASSERT_TRUE(IsSame());
  ASSERT_TRUE(mount_.Unmount());
  const int64_t half_a_year_on = (time(nullptr) + kYear / 2) * 1'000'000;
  const Outcome counted = Execute({"sqlite3", mount_.options().state + "/state.db",
                                   "UPDATE epoch SET number=" + std::to_string(half_a_year_on)});
  ASSERT_EQ(counted.code, 0) << counted;
  source_clock_.Set(kYear);
  mount_.options().replicas = {"one=" + url_};
  ASSERT_TRUE(StartMount());
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr("is that clock behind?"));
  replica_clock_.Set(kYear);
  EXPECT_TRUE(IsSame());
  ExpectCurrentAndTrue();
}

TEST_F(Clocks, AnInvitationHasExpiredByABackupHostThatIsAYearAhead) {
  replica_clock_.Set(kYear);
  ASSERT_TRUE(StartReplica());
  InviteBy({});
  const Outcome refused = Execute(Launch{mount_.Command(), mount_.options().environment});
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("by that host's clock"), HasSubstr("expired"),
                                 HasSubstr("tandemd invite")));
}

TEST_F(Clocks, ABackupHostThatIsAYearBehindSaysThatItsClockIsInTheWay) {
  replica_clock_.Set(-kYear);
  ASSERT_TRUE(StartReplica());
  InviteBy({});
  const Outcome refused = Execute(Launch{mount_.Command(), mount_.options().environment});
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, HasSubstr("set that clock, and try again"));
  replica_clock_.Set(0);
  ASSERT_TRUE(StartMount());
  EXPECT_TRUE(IsSame());
}

}  // namespace
}  // namespace tandem::test
