// Hostile peers at the daemon's tls:// port, and an honest source of another account beside them:
// strangers, impostors, and hosts with a good key of their own (tests/programs/hostile_client.cc).
#include <filesystem>

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
  void TearDown() override {
    if (IsSkipped() || HasFatalFailure()) return;
    EXPECT_TRUE(IsSame());
    EXPECT_EQ(mount_.Verify().code, 0);
  }

  const std::string raw_url_ = "tcp://127.0.0.1:" + std::to_string(port_);
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
  Endure("large-then-idle", bob);
}

TEST_F(HostileOverTls, AnotherAccountsStagesAndBombsDelayNobody) {
  const auto bob = AsBob();
  Endure("begins", bob);
  Endure("bombs", bob);
  Endure("odd", bob);
}

TEST_F(HostileOverTls, AnotherAccountsVolumesDelayNobody) { Endure("hellos", AsBob()); }

}  // namespace
}  // namespace tandem::test
