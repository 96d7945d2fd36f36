// An invitation: who may use it, how often and how long; and the renewal of keys.
#include <thread>

#include "tests/unit/registry_fixture.h"

namespace tandem::replica {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Invitations : public RegistryTest {
 protected:
  std::string WhyNot(const Result<Enrolled>& enrolled) {
    EXPECT_FALSE(enrolled);
    if (enrolled) return "";
    EXPECT_EQ(enrolled.error().kind(), ErrorKind::kRefused);
    return enrolled.error().ToString();
  }
  const std::string key_ = MakePrivateKey().value();
  const std::string other_ = MakePrivateKey().value();
};

TEST_F(Invitations, MayBeUsedAgainWithTheSameKey) {
  const std::string secret = Invite("alice");
  const auto first = Enrol(secret, key_);
  ASSERT_TRUE(first);
  now_ = now_ + 3599;
  const auto again = Enrol(secret, key_, "by another name");
  ASSERT_TRUE(again) << again.error().ToString();
  EXPECT_EQ(again->name, first->name);
  EXPECT_TRUE(CheckSignedBy({again->certificate, key_}, again->authority));
  EXPECT_EQ(files_.Read()->identities.size(), 1u);
}

TEST_F(Invitations, RefuseAnotherKeyAndBothSidesLearnOfIt) {
  const std::string secret = Invite("alice");
  const std::string name = Enrol(secret, key_)->name;
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();  // where the log goes before it is set up
  EXPECT_THAT(WhyNot(Enrol(secret, other_)),
              HasSubstr("a different host has used this invitation"));
  EXPECT_THAT(testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("192.0.2.9"), HasSubstr("the invitation of " + name)));
  EXPECT_TRUE(files_.Read()->invitations.front().misused);
  EXPECT_TRUE(Enrol(secret, key_)) << "the first goes on";
  EXPECT_EQ(files_.Read()->identities.size(), 1u);
}

TEST_F(Invitations, AreUsedByOneOfManyAtTheSameTime) {
  const std::string secret = Invite("alice");
  std::atomic<int> enrolled{0};
  std::vector<std::thread> hosts;
  for (int i = 0; i < 8; ++i) {
    hosts.emplace_back([&] {
      // Half of them in another process's place.
      FileRegistry another(store_, [this] { return now_.load(); });
      const std::string request = MakeCertificateRequest(MakePrivateKey().value()).value();
      if (another.Enrol({secret, request, "h"}, Stranger())) ++enrolled;
    });
  }
  for (std::thread& host : hosts) host.join();
  EXPECT_EQ(enrolled, 1);
  EXPECT_EQ(files_.Read()->identities.size(), 1u);
}

TEST_F(Invitations, EndAtTheirTime) {
  const std::string secret = Invite("alice", 60);
  now_ = now_ + 60;
  EXPECT_THAT(WhyNot(Enrol(secret, key_)),
              AllOf(HasSubstr("expired"), HasSubstr("tandemd invite")));
  registry_.WriteDown();
  EXPECT_TRUE(files_.Read()->invitations.empty());
  now_ = now_ - 30;
  EXPECT_THAT(WhyNot(Enrol(secret, key_)), HasSubstr("expired")) << "no clock brings it back";
}

TEST_F(Invitations, AreNotMadeLongerByAClockThatIsSetBack) {
  const std::string secret = Invite("alice", 60);
  now_ = now_ - 1000;
  EXPECT_THAT(WhyNot(Enrol(secret, key_)), HasSubstr("set that clock"));
  now_ = now_ + 1000;
  EXPECT_TRUE(Enrol(secret, key_));
}

TEST_F(Invitations, ThatAreUnknownAreRefused) {
  Invite("alice");
  const std::string guess(kInvitationSecretBytes, 'x');
  EXPECT_THAT(WhyNot(Enrol(guess, key_)), HasSubstr("unknown here"));
  EXPECT_TRUE(files_.Read()->identities.empty());
}

TEST_F(Invitations, DoNotGiveARevokedKeyBack) {
  const std::string secret = Invite("alice");
  const std::string name = Enrol(secret, key_)->name;
  Change([&](Accounts& all) { all.FindIdentity(name)->revoked = true; });
  EXPECT_THAT(WhyNot(Enrol(secret, key_)), HasSubstr("revoked"));
  Change([&](Accounts& all) { all.identities.clear(); });
  EXPECT_THAT(WhyNot(Enrol(secret, key_)), HasSubstr("revoked"));
}

TEST_F(Invitations, NeedAnEncryptedConnectionAndProofOfTheKey) {
  const std::string secret = Invite("alice");
  const std::string request = MakeCertificateRequest(key_).value();
  for (const Kind kind : {Kind::kPlaintext, Kind::kUser}) {
    PeerIdentity peer;
    peer.kind = kind;
    EXPECT_THAT(WhyNot(registry_.Enrol({secret, request, "host"}, peer)), HasSubstr("tls://"));
  }
  EXPECT_THAT(WhyNot(registry_.Enrol({secret, "no request", "host"}, Stranger())),
              HasSubstr("certificate request"));
  EXPECT_TRUE(Enrol(secret, key_)) << "none of these has used it up";
}

TEST_F(Invitations, OfTwoStoresAreNotMixedUp) {
  const std::string elsewhere = scratch_.Directory("elsewhere");
  FileRegistry other(elsewhere, [this] { return now_.load(); });
  ASSERT_TRUE(other.OwnCredentials());
  const std::string secret = Invite("alice");
  const std::string request = MakeCertificateRequest(key_).value();
  EXPECT_THAT(WhyNot(other.Enrol({secret, request, "host"}, Stranger())),
              HasSubstr("unknown here"));
  const auto enrolled = Enrol(secret, key_);
  ASSERT_TRUE(enrolled);
  EXPECT_FALSE(other.RightsOf(HostWith(key_, enrolled->name)));
  EXPECT_NE(other.OwnCredentials()->authority, registry_.OwnCredentials()->authority);
}

// ---- Renewal -----------------------------------------------------------------------------------

class Renewals : public Invitations {
 protected:
  void SetUp() override {
    name_ = Enrol(Invite("alice"), key_)->name;
    Change([&](Accounts& all) { all.FindIdentity(name_)->must_renew = true; });
  }
  Result<Enrolled> Renew(const std::string& with, const std::string& to) {
    return registry_.Renew({MakeCertificateRequest(to).value()}, HostWith(with, name_));
  }
  bool MustRenew(const std::string& with) {
    return registry_.Renew({}, HostWith(with, name_))->must_renew;
  }
  std::string name_;
};

TEST_F(Renewals, TheFormerKeyWorksUntilAnHourAfterTheFirstUseOfTheNewOne) {
  EXPECT_TRUE(MustRenew(key_));
  const auto renewed = Renew(key_, other_);
  ASSERT_TRUE(renewed) << renewed.error().ToString();
  EXPECT_EQ(renewed->name, name_);
  EXPECT_TRUE(CheckSignedBy({renewed->certificate, other_}, renewed->authority));
  now_ = now_ + 100'000;
  EXPECT_TRUE(registry_.RightsOf(HostWith(key_, name_))) << "the new one is not in use yet";
  EXPECT_TRUE(registry_.RightsOf(HostWith(other_, name_)));
  EXPECT_FALSE(MustRenew(other_));
  now_ = now_ + kRenewalGrace - 1;
  EXPECT_TRUE(registry_.RightsOf(HostWith(key_, name_)));
  now_ = now_ + 1;
  EXPECT_THAT(WhyNoRights(HostWith(key_, name_)), HasSubstr("former key"));
  registry_.WriteDown();  // that the new one is in use
  registry_.WriteDown();  // that the former one's time is over
  EXPECT_FALSE(registry_.RightsOf(HostWith(key_, name_)));
  EXPECT_TRUE(registry_.RightsOf(HostWith(other_, name_)));
  EXPECT_FALSE(files_.Read()->FindIdentity(name_)->must_renew);
}

TEST_F(Renewals, MayBeRepeated) {
  ASSERT_TRUE(Renew(key_, other_));
  ASSERT_TRUE(Renew(key_, other_)) << "the answer was lost";
  EXPECT_TRUE(MustRenew(key_)) << "as long as the new one is not in use";
  EXPECT_TRUE(registry_.RightsOf(HostWith(other_, name_)));
  EXPECT_TRUE(Renew(other_, other_));
}

TEST_F(Renewals, AreNotForWhoeverHasAFormerKey) {
  ASSERT_TRUE(Renew(key_, other_));
  ASSERT_TRUE(registry_.RightsOf(HostWith(other_, name_)));
  EXPECT_THAT(WhyNot(Renew(key_, MakePrivateKey().value())), HasSubstr("former key"));
  EXPECT_TRUE(registry_.RightsOf(HostWith(other_, name_)));
}

TEST_F(Renewals, AreRefusedToRevokedKeysAndStrangers) {
  Change([&](Accounts& all) { all.FindIdentity(name_)->revoked = true; });
  EXPECT_THAT(WhyNot(Renew(key_, other_)), HasSubstr("revoked"));
  EXPECT_FALSE(registry_.Renew({}, Stranger()));
  EXPECT_FALSE(registry_.RightsOf(HostWith(other_, name_)));
}

TEST_F(Renewals, DoNotTakeAnothersKey) {
  const std::string others_name = Enrol(Invite("bob"), other_)->name;
  EXPECT_THAT(WhyNot(Renew(key_, other_)), HasSubstr("in use already"));
  EXPECT_EQ(registry_.RightsOf(HostWith(other_, others_name))->account, "bob");
}

}  // namespace
}  // namespace tandem::replica
