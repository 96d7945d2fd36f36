// Hostile peers at the daemon's tls:// port, and an honest source of another account beside them:
// strangers, impostors, and hosts with a good key of their own (tests/programs/hostile_client.cc).
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "replica/transport/certificates.h"
#include "tests/endurance.h"
#include "tests/enrolled_mount.h"
#include "tests/files.h"
#include "tests/link.h"

namespace tandem::test {
namespace {

using replica::KeyedCertificate;

class HostileOverTls : public EnrolledMount {
 protected:
  void SetUp() override {
    EnrolledMount::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(StartEnrolled());
    endurance_.Begin();
  }
  // What the client shows; nothing makes it a stranger.
  std::vector<std::string> Showing(const KeyedCertificate& own, const std::string& above = "") {
    const std::string name = "shown." + std::to_string(++shown_);
    Write(scratch_.Path(name + ".cert"), own.certificate + above);
    Write(scratch_.Path(name + ".key"), own.private_key);
    return {"cert=" + scratch_.Path(name + ".cert"), "key=" + scratch_.Path(name + ".key")};
  }
  // A host of account bob.
  std::vector<std::string> AsBob() {
    const replica::Credentials bob = EnrolHost("bob");
    return Showing({bob.certificate, bob.private_key});
  }
  void Endure(const std::string& mode, std::vector<std::string> options = {}) {
    endurance_.Endure(AttackOn(tls_url_, mode, std::move(options)));
  }
  // Below TLS: the bytes go to the port as they are.
  void EndureRaw(const std::string& mode, std::vector<std::string> options = {}) {
    endurance_.Endure(AttackOn(raw_url_, mode, std::move(options)));
  }
  // Everything it asks is refused.
  void ExpectRefused(const std::vector<std::string>& options) {
    Process client(AttackOn(tls_url_, "refused", options));
    EXPECT_TRUE(WaitFor([&] { return std::ranges::count(client.out(), '\n') > 2; }));
    EXPECT_THAT(client.out(), ::testing::Not(::testing::HasSubstr("WRONG")));
    EXPECT_THAT(client.out(), ::testing::Not(::testing::EndsWith(" 0 answers\n")));
  }
  // Mounts anew, with the daemon at the other end of link_.
  ::testing::AssertionResult GoByALink() {
    link_ = std::make_unique<Link>(tls_url_);
    if (auto unmounted = mount_.Unmount(); !unmounted) return unmounted;
    const std::string address = link_->url().substr(link_->url().find("127."));
    std::filesystem::copy_file(keys_ + "/" + address_ + ".json", keys_ + "/" + address + ".json");
    mount_.options().replicas = {"backup=tls://" + address};
    if (auto started = mount_.Start(); !started) return started;
    return IsSame();
  }
  void TearDown() override {
    if (IsSkipped() || HasFatalFailure()) return;
    EXPECT_TRUE(IsSame());
    EXPECT_EQ(mount_.Verify().code, 0);
  }

  const std::string raw_url_ = "tcp://127.0.0.1:" + std::to_string(port_);
  std::unique_ptr<Link> link_;
  Endurance endurance_{mount_, replica_};
  int shown_ = 0;
};

// ---- Strangers ---------------------------------------------------------------------------------

TEST_F(HostileOverTls, GarbageInPlaceOfAHandshakeDelaysNobody) {
  EndureRaw("garbage");
  EndureRaw("greetings");
}

TEST_F(HostileOverTls, HalfHandshakesDelayNobody) { EndureRaw("half-handshakes", {"count=400"}); }

TEST_F(HostileOverTls, FloodsOfHandshakesDelayNobody) { EndureRaw("handshakes"); }

// The kernel lets no more than a few hundred in at once, and then one a second.
TEST_F(HostileOverTls, IdleConnectionsDelayNobody) {
  EndureRaw("idle", {"count=" + std::to_string(Times(500, 2000))});
}

TEST_F(HostileOverTls, GreetedStrangersDelayNobody) { Endure("greeted", {"count=300"}); }

TEST_F(HostileOverTls, StrangersLargeFramesAreNotTaken) {
  Endure("stranger-frames");
  Endure("half");
  Endure("huge");
}

TEST_F(HostileOverTls, StrangersMayOnlyEnrol) { Endure("refused"); }

// ---- Impostors ---------------------------------------------------------------------------------

// The name in it is that of a host that may do everything.
TEST_F(HostileOverTls, SelfMadeCertificatesMayOnlyEnrol) {
  const std::string name = Identity()["name"];
  const std::string key = replica::MakePrivateKey().value();
  const std::string request = replica::MakeCertificateRequest(key).value();
  const auto certified_by = [&](const KeyedCertificate& authority) {
    return KeyedCertificate{replica::SignRequest(authority, request, name).value(), key};
  };
  const KeyedCertificate forged = certified_by(replica::MakeAuthority().value());
  Endure("refused", Showing(forged));
  // Beside it the certificate of the true authority, which everybody can have; or a host as the
  // authority.
  const replica::Credentials bob = EnrolHost("bob");
  ExpectRefused(Showing(forged, bob.authority));
  ExpectRefused(Showing(certified_by({bob.certificate, bob.private_key}), bob.certificate));
}

TEST_F(HostileOverTls, RevokedKeysAreRefusedEverything) {
  const auto bob = AsBob();
  ASSERT_EQ(Tandemd({"account", "revoke", "bob"}).code, 0);
  ExpectRefused(bob);
}

// ---- What goes by ------------------------------------------------------------------------------

TEST_F(HostileOverTls, AConnectionThatIsReplayedChangesNothing) {
  ASSERT_TRUE(GoByALink());
  (void)endurance_.SlowestSync(milliseconds(200));
  const std::string bytes = scratch_.Path("recorded");
  Write(bytes, link_->Recorded(true));
  ASSERT_GT(std::filesystem::file_size(bytes), 1000u);
  EndureRaw("replay", {"bytes=" + bytes});
}

// From its own address, as from behind one router.
TEST_F(HostileOverTls, AnHonestSourceComesBackDuringAFlood) {
  ASSERT_TRUE(GoByALink());
  for (const char* mode : {"handshakes", "half-handshakes"}) {
    Process client{Launch{{Program("tests/hostile_client"), mode, raw_url_, "count=200"}}};
    ASSERT_TRUE(WaitFor([&] { return client.out().starts_with("attacking"); })) << client.err();
    for (int i = 0; i < 5; ++i) {
      link_->Cut();
      EXPECT_LT(endurance_.SlowestSync(milliseconds(1)), seconds(2)) << mode;
    }
  }
}

TEST_F(HostileOverTls, FloodsOfKeyUpdatesTakeNoMemory) {
  Endure("key-updates");
  Endure("key-updates", AsBob());
}

// ---- Hosts with a good key of another account --------------------------------------------------

TEST_F(HostileOverTls, AnotherAccountsHalfFramesDelayNobodyAndTakeNoMemory) {
  const auto bob = AsBob();
  Endure("half", bob);
  Endure("huge", bob);
}

TEST_F(HostileOverTls, AnotherAccountThatIsSlowOrNeverReadsDelaysNobody) {
  const auto bob = AsBob();
  Endure("never-read", bob);
  Endure("slow", bob);
}

TEST_F(HostileOverTls, AnotherAccountsConnectionsTakeLittleMemory) {
  auto bob = AsBob();
  bob.push_back("count=" + std::to_string(Times(300, 2000)));
  Endure("greeted", bob);
  bob.back() = "count=" + std::to_string(Times(150, 2000));
  Endure("large-then-idle", bob);
}

TEST_F(HostileOverTls, AnotherAccountsAnswersThatAreNotReadTakeNoMemory) {
  auto bob = AsBob();
  bob.insert(bob.end(), {"count=60", "window=4096"});
  endurance_.Endure(AttackOn(tls_url_, "greedy", bob), LongTests(), seconds(Times(1, 10)));
}

TEST_F(HostileOverTls, AnotherAccountsStagesAndBombsDelayNobody) {
  const auto bob = AsBob();
  Endure("begins", bob);
  Endure("bombs", bob);
  Endure("odd", bob);
}

// What it has opened is closed when nothing has been heard of it for long: hostile_test waits for
// that.
TEST_F(HostileOverTls, AnotherAccountsVolumesDelayNobody) {
  endurance_.Endure(AttackOn(tls_url_, "hellos", AsBob()), LongTests());
}

}  // namespace
}  // namespace tandem::test
