// A backup host that is replaced by an empty machine with its address: what it held is sent again,
// once it is trusted.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/network_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kReplicaIsBlocked = 3;  // tandem status --help

class ReplacedHost : public NetworkTest {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    if (IsSkipped()) return;
    cable_ = std::make_unique<Cable>();
    mount_.options().under = cable_->near().Within();
    mount_.options().environment["TANDEM_KEYS"] = scratch_.Path("keys");
    MakeEveryKind(source_);
  }
  std::string Address() const { return cable_->far_address() + ":" + std::to_string(kPort); }
  ::testing::AssertionResult StartReplica(const std::string& scheme) {
    replica_.more() = {"--trusted-attributes"};
    replica_.Move(cable_->far().Within(), scheme + "://" + Address());
    return replica_.Start();
  }
  // Returns what --replica is to be told.
  std::string Invite() {
    const std::string file = scratch_.Path("token");
    EXPECT_TRUE(replica_.Invite(Address(), file));
    return "one=@" + file;
  }
  // The machine and its disk.
  void Replace() {
    replica_.Kill();
    stdfs::remove_all(replica_.store());
    stdfs::create_directory(replica_.store());
    cable_->ReplaceFar();
  }
  ::testing::AssertionResult IsSame(const std::string& account) {
    if (auto synced = mount_.Sync(); !synced) return synced;
    const Outcome verified = mount_.Verify({"--full"});
    if (verified.code != 0) return ::testing::AssertionFailure() << verified;
    return SameTrees(source_, replica_.tree(account + kVolume));
  }

  std::unique_ptr<Cable> cable_;
};

TEST_F(ReplacedHost, WithoutItsKeysIsNotTrustedUntilItInvitesAgain) {
  ASSERT_TRUE(StartReplica("tls"));
  mount_.options().replicas = {Invite()};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsSame("alice/"));
  Replace();
  ASSERT_TRUE(StartReplica("tls"));
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
  EXPECT_THAT(mount_.ReplicaError(),
              AllOf(HasSubstr("its certificate is not the one this host was paired with"),
                    HasSubstr("tandemd invite"), HasSubstr("@FILE")));
  EXPECT_EQ(mount_.Tandem("status").code, kReplicaIsBlocked);
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "0.5"}).code, 1);
  EXPECT_FALSE(stdfs::exists(replica_.store() + "/alice"));

  // As one would: mounted once more, over the one that is blocked.
  mount_.options().replicas = {Invite()};
  Mount again(mount_.options());
  ASSERT_TRUE(again.Start());
  EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
  EXPECT_TRUE(again.WaitForState("current")) << again.process().err();
  EXPECT_TRUE(IsSame("alice/")) << again.process().err();
}

TEST_F(ReplacedHost, WithItsKeysIsFilledAgainByItself) {
  ASSERT_TRUE(StartReplica("tls"));
  mount_.options().replicas = {Invite()};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsSame("alice/"));
  const std::string keys = replica_.store() + "/.tandemd";
  const std::string backup = scratch_.Path("keys-of-the-daemon");
  stdfs::copy(keys, backup, stdfs::copy_options::recursive);
  Replace();
  stdfs::copy(backup, keys, stdfs::copy_options::recursive);
  ASSERT_TRUE(StartReplica("tls"));
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(IsSame("alice/"));
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_THAT(mount_.process().err(), HasSubstr("replica one: seeding"));
}

TEST_F(ReplacedHost, WhoseKeysNobodyAsksForIsFilledAgainByItself) {
  ASSERT_TRUE(StartReplica("tcp"));
  mount_.options().replicas = {"one=" + replica_.url()};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsSame(""));
  Replace();
  ASSERT_TRUE(StartReplica("tcp"));
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(IsSame(""));
  EXPECT_TRUE(mount_.WaitForState("current"));
}

TEST_F(ReplacedHost, StoreBehindALocalSocketIsFilledAgainByItself) {
  replica_.Move({}, "ipc://" + scratch_.Path("tandemd.sock"));
  ASSERT_TRUE(replica_.Start());
  mount_.options().replicas = {"one=" + replica_.url()};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsSame(""));
  Replace();
  ASSERT_TRUE(replica_.Start());
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(IsSame(""));
  EXPECT_TRUE(mount_.WaitForState("current"));
}

}  // namespace
}  // namespace tandem::test
