// Something on the way between a source and its replica daemon that flips bits, cuts connections,
// or answers in the daemon's place. Over tls:// nothing of that is ever applied, status says that
// the replica is not connected and why, and afterwards the connection comes back by itself.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <random>

#include "replica/transport/certificates.h"
#include "replica/transport/transport.h"
#include "tests/enrolled_mount.h"
#include "tests/files.h"
#include "tests/link.h"

namespace tandem::test {
namespace {

using replica::Credentials;
using replica::ReplySocket;
using ::testing::HasSubstr;
using Kind = Link::Fault::Kind;

class Tampering : public EnrolledMount {
 protected:
  void SetUp() override {
    EnrolledMount::SetUp();
    if (IsSkipped()) return;
    address_ = link_.url().substr(link_.url().find("127."));
    Invite();
  }
  // A daemon in another's place, which counts what it is asked.
  std::unique_ptr<ReplySocket> Listen(const Credentials& credentials) {
    ReplySocket::Options options;
    options.workers = 2;
    options.max_message_bytes = 4 << 20;
    options.credentials = credentials;
    return ReplySocket::Listen({"tls://127.0.0.1:0"}, options,
                               [this](std::string_view, const replica::ConnectionRef&) {
                                 ++asked_;
                                 return std::string("yes");
                               })
        .value();
  }
  static Credentials DaemonOfAnotherStore() {
    const auto authority = replica::MakeAuthority().value();
    const auto own = replica::MakeDaemonCertificate(authority).value();
    return {own.certificate, own.private_key, authority.certificate, ""};
  }
  // A small change set, with content, a new name, and one that goes.
  void Change() {
    const std::string name = mount_.path() + "/round" + std::to_string(++changes_);
    Write(mount_.path() + "/file", RandomBytes(3000, changes_));
    Write(name, RandomBytes(20'000, changes_));
    std::filesystem::remove(mount_.path() + "/round" + std::to_string(changes_ - 1));
  }
  // Where the TLS records of a connection begin.
  std::vector<uint64_t> RecordsOf(bool forth) {
    const std::string bytes = link_.Recorded(forth);
    std::vector<uint64_t> begins;
    constexpr size_t kHeader = 5;
    for (size_t at = 0; at + kHeader <= bytes.size();) {
      begins.push_back(at);
      const auto high = static_cast<unsigned char>(bytes[at + 3]);
      const auto low = static_cast<unsigned char>(bytes[at + 4]);
      at += kHeader + 256u * high + low;
    }
    return begins;
  }
  // Makes the mount connect anew, with a fault in the way, while there are changes to be sent.
  void Strike(const Link::Fault& fault) {
    SCOPED_TRACE((fault.kind == Kind::kCut ? "cut at " : "flip at ") + std::to_string(fault.at) +
                 (fault.forth ? " forth" : " back"));
    link_.SetFault(fault);
    link_.Cut();
    Change();
    EXPECT_TRUE(IsSame());
    EXPECT_TRUE(mount_.WaitForState("current"));
  }

  Link link_{tls_url_};
  std::atomic<int> asked_{0};
  uint64_t changes_ = 0;
};

// The first records of each direction are the handshake's, then come the greeting and the frames.
TEST_F(Tampering, NothingIsAppliedThatWasAlteredOrCutOff) {
  ASSERT_TRUE(mount_.Start());
  Change();
  ASSERT_TRUE(IsSame());
  std::vector<Link::Fault> faults;
  for (const bool forth : {true, false}) {
    const std::vector<uint64_t> begins = RecordsOf(forth);
    ASSERT_GT(begins.size(), 8u);
    for (size_t i = 0; i + 1 < begins.size() && i < 24; ++i) {
      faults.push_back({Kind::kCut, forth, begins[i]});
      faults.push_back({Kind::kCut, forth, begins[i] + 3});
      faults.push_back({Kind::kFlip, forth, begins[i]});                        // type
      faults.push_back({Kind::kFlip, forth, begins[i] + 5});                    // content
      faults.push_back({Kind::kFlip, forth, (begins[i] + begins[i + 1]) / 2});  // likewise
      faults.push_back({Kind::kFlip, forth, begins[i + 1] - 1});                // its proof
      if (LongTests()) faults.push_back({Kind::kFlip, forth, begins[i] + 4});   // length
    }
  }
  std::mt19937_64 random(FreshSeed());
  std::ranges::shuffle(faults, random);
  const int rounds = Times(10, static_cast<int>(faults.size()));
  for (int i = 0; i < rounds; ++i) Strike(faults[static_cast<size_t>(i)]);
  link_.SetFault(std::nullopt);
  std::cout << link_.struck() << " of " << rounds << " faults struck, " << link_.accepted()
            << " connections\n";
  EXPECT_GE(link_.struck(), rounds / 2);
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
}

TEST_F(Tampering, IsSaidWhileItLastsAndOverWhenItEnds) {
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsSame());
  const std::vector<uint64_t> forth = RecordsOf(true);
  const std::vector<uint64_t> back = RecordsOf(false);
  const std::vector<std::pair<Link::Fault, std::string>> faults = {
      {{Kind::kFlip, true, 20, 1, true}, "the TLS handshake failed"},
      {{Kind::kFlip, false, back[2] + 20, 1, true}, "the TLS handshake failed"},
      {{Kind::kCut, false, back[1], 1, true}, "hangs up"},
      {{Kind::kFlip, true, forth[6] + 20, 1, true}, "has ended"}};
  for (const auto& [fault, reason] : faults) {
    const std::string& says = reason;
    const std::string before = Read(Tree() + "/file");
    link_.SetFault(fault);
    link_.Cut();
    Change();
    EXPECT_TRUE(
        WaitFor([&] { return mount_.ReplicaError().find(says) != std::string::npos; }, seconds(10)))
        << mount_.Status().dump(2);
    EXPECT_EQ(mount_.State(), "connecting");
    EXPECT_EQ(Read(Tree() + "/file"), before);
    link_.SetFault(std::nullopt);
    EXPECT_TRUE(IsSame());
    EXPECT_TRUE(mount_.WaitForState("current"));
    EXPECT_EQ(mount_.ReplicaError(), "");
  }
  EXPECT_EQ(mount_.Verify().code, 0);
}

// With the certificate of another store's daemon, or with one that this store gave to a host.
TEST_F(Tampering, WhoAnswersInTheDaemonsPlaceLearnsNothing) {
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsSame());
  for (const Credentials& credentials : {DaemonOfAnotherStore(), EnrolHost("bob")}) {
    const std::string before = Read(Tree() + "/file");
    const auto impostor = Listen(credentials);
    link_.SetTarget(impostor->urls()[0]);
    link_.Cut();
    Change();
    EXPECT_TRUE(WaitFor([&] {
      return mount_.ReplicaError().find("not the one this host was paired with") !=
             std::string::npos;
    })) << mount_.Status().dump(2);
    EXPECT_EQ(asked_, 0);
    EXPECT_EQ(Read(Tree() + "/file"), before);
    link_.SetTarget(tls_url_);
    EXPECT_TRUE(IsSame());
    EXPECT_TRUE(mount_.WaitForState("current"));
  }
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(Tampering, ATokenIsNotToldToWhoAnswersInTheDaemonsPlace) {
  const auto impostor = Listen(DaemonOfAnotherStore());
  link_.SetTarget(impostor->urls()[0]);
  const Outcome outcome = Execute(Launch{mount_.Command(), mount_.options().environment});
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("not the one this host was paired with"));
  EXPECT_EQ(asked_, 0);
  link_.SetTarget(tls_url_);
  ASSERT_TRUE(mount_.Start()) << "the token is as good as before";
  EXPECT_TRUE(IsSame());
}

}  // namespace
}  // namespace tandem::test
