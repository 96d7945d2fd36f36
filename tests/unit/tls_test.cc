// Who is believed to be at the other end of a tls:// connection.
#include "replica/transport/tls.h"

#include <gmock/gmock.h>

#include <atomic>

#include "meta/base/mutex.h"
#include "replica/transport/certificates.h"
#include "replica/transport/transport.h"
#include "tests/link.h"
#include "tests/process.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr milliseconds kPatience{20'000};
constexpr size_t kMaxBytes = 4 << 20;

// An authority, its daemon, and hosts that it has certified.
struct Realm {
  KeyedCertificate authority = MakeAuthority().value();

  Credentials Daemon() const {
    const KeyedCertificate own = MakeDaemonCertificate(authority).value();
    return {own.certificate, own.private_key, authority.certificate, ""};
  }
  Credentials Host(const std::string& name) const {
    const std::string key = MakePrivateKey().value();
    const std::string request = MakeCertificateRequest(key).value();
    return {SignRequest(authority, request, name).value(), key, authority.certificate, ""};
  }
};

class Tls : public testing::Test {
 protected:
  std::unique_ptr<ReplySocket> Listen(const Credentials& credentials) {
    ReplySocket::Options options;
    options.workers = 4;
    options.max_message_bytes = kMaxBytes;
    options.credentials = credentials;
    return ReplySocket::Listen({"tls://127.0.0.1:0"}, options,
                               [this](std::string_view request, const ConnectionRef& connection) {
                                 {
                                   MutexLock lock(mutex_);
                                   seen_ = connection->peer();
                                 }
                                 ++requests_;
                                 return "echo " + std::string(request);
                               })
        .value();
  }
  PeerIdentity Seen() {
    MutexLock lock(mutex_);
    return seen_;
  }
  std::string WhyNot(const std::string& url, const Credentials& credentials) {
    const auto socket = RequestSocket::Dial(url, credentials).value();
    test::WaitFor([&] { return !socket->WhyNotConnected().empty() || socket->connection() != 0; });
    EXPECT_EQ(socket->connection(), 0u);
    return socket->WhyNotConnected();
  }

  const Realm realm_ = {};
  Mutex mutex_;
  PeerIdentity seen_ GUARDED_BY(mutex_);
  std::atomic<int> requests_{0};
  std::unique_ptr<ReplySocket> server_ = Listen(realm_.Daemon());
  const std::string url_ = server_->urls()[0];
};

TEST_F(Tls, AHostIsKnownByItsCertificateAndKey) {
  ASSERT_THAT(url_, testing::StartsWith("tls://127.0.0.1:"));
  const Credentials host = realm_.Host("alice/web-1");
  const auto socket = RequestSocket::Dial(url_, host).value();
  EXPECT_EQ(socket->Ask("hello", kPatience).value(), "echo hello");
  EXPECT_EQ(Seen().kind, PeerIdentity::Kind::kKey);
  EXPECT_EQ(Seen().name, "alice/web-1");
  EXPECT_EQ(Seen().key, KeyOfPrivateKey(host.private_key).value());
  EXPECT_EQ(Seen().address, "127.0.0.1");
  const std::string large(kMaxBytes - 5, 'x');
  for (int i = 0; i < 8; ++i) EXPECT_EQ(socket->Ask(large, kPatience).value(), "echo " + large);
}

TEST_F(Tls, WithoutACertificateAPeerIsAStrangerAndMaySayLittle) {
  const std::string digest = DigestOfCertificate(realm_.authority.certificate).value();
  const auto socket = RequestSocket::Dial(url_, Credentials{"", "", "", digest}).value();
  EXPECT_EQ(socket->Ask("hello", kPatience).value(), "echo hello");
  EXPECT_EQ(Seen().kind, PeerIdentity::Kind::kStranger);
  EXPECT_EQ(Seen().key, "");
  EXPECT_EQ(Seen().name, "");
  EXPECT_FALSE(socket->Ask(std::string(1 << 20, 'x'), milliseconds(500)));
  EXPECT_EQ(requests_, 1);
}

TEST_F(Tls, StrangersMakeRoomForOneAnotherAndForHosts) {
  const std::string digest = DigestOfCertificate(realm_.authority.certificate).value();
  const Credentials stranger{"", "", "", digest};
  const auto first = RequestSocket::Dial(url_, stranger).value();
  ASSERT_TRUE(first->Ask("hello", kPatience));
  std::vector<std::unique_ptr<RequestSocket>> others;
  for (int i = 0; i < 130; ++i) {
    others.push_back(RequestSocket::Dial(url_, stranger).value());
    ASSERT_TRUE(others.back()->Ask("hello", kPatience));
  }
  EXPECT_TRUE(test::WaitFor([&] { return first->connections() > 1; })) << "the first had to go";
  const auto host = RequestSocket::Dial(url_, realm_.Host("alice/web-1")).value();
  EXPECT_TRUE(host->Ask("hello", kPatience));
}

// Its certificate says what it likes.
TEST_F(Tls, ACertificateOfAnotherAuthorityProvesNothing) {
  Credentials forged = Realm().Host("alice/web-1");
  forged.authority = realm_.authority.certificate;
  const auto socket = RequestSocket::Dial(url_, forged).value();
  EXPECT_TRUE(socket->Ask("hello", kPatience));
  EXPECT_EQ(Seen().kind, PeerIdentity::Kind::kStranger);
  EXPECT_EQ(Seen().name, "");
}

TEST_F(Tls, ADaemonsOwnCertificateMakesNoHost) {
  const auto socket = RequestSocket::Dial(url_, realm_.Daemon()).value();
  EXPECT_TRUE(socket->Ask("hello", kPatience));
  EXPECT_EQ(Seen().kind, PeerIdentity::Kind::kStranger);
}

TEST_F(Tls, ADaemonOfAnotherAuthorityIsToldNothing) {
  const Realm other;
  const std::string why = WhyNot(url_, other.Host("alice/web-1"));
  EXPECT_THAT(why, HasSubstr("is not the one this host was paired with"));
  const std::string digest = DigestOfCertificate(other.authority.certificate).value();
  EXPECT_THAT(WhyNot(url_, Credentials{"", "", "", digest}), HasSubstr("paired with"));
  EXPECT_EQ(requests_, 0);
}

// It has a certificate of the right authority, but one of a host.
TEST_F(Tls, AHostThatPretendsToBeTheDaemonIsToldNothing) {
  const auto impostor = Listen(realm_.Host("mallory/web-2"));
  EXPECT_THAT(WhyNot(impostor->urls()[0], realm_.Host("alice/web-1")), HasSubstr("paired with"));
  EXPECT_EQ(requests_, 0);
}

TEST_F(Tls, WhatSpeaksNoTlsIsTold) {
  const auto plain =
      ReplySocket::Listen({"tcp://127.0.0.1:0"}, 1, kMaxBytes, [](std::string_view request) {
        return std::string(request);
      }).value();
  const std::string url = "tls" + plain->urls()[0].substr(3);
  const auto socket = RequestSocket::Dial(url, realm_.Host("alice/web-1")).value();
  EXPECT_TRUE(test::WaitFor([&] { return !socket->WhyNotConnected().empty(); }));
  EXPECT_THAT(socket->WhyNotConnected(), HasSubstr("what listens at " + url + " is no tandemd"));
  const auto clear = RequestSocket::Dial("tcp" + url_.substr(3)).value();
  EXPECT_TRUE(test::WaitFor([&] { return !clear->WhyNotConnected().empty(); }));
  EXPECT_EQ(requests_, 0);
}

TEST_F(Tls, RecordsThatTheKernelTakesInPartsArriveWhole) {
  test::Link link(url_);
  link.SetRate(32 << 20);
  const auto socket =
      RequestSocket::Dial("tls" + link.url().substr(3), realm_.Host("alice/web-1")).value();
  const std::string large(3 << 20, 'x');
  std::vector<std::unique_ptr<RequestSocket::Call>> calls;
  for (int i = 0; i < 8; ++i) calls.push_back(socket->Send(large, kPatience).value());
  for (const auto& call : calls) EXPECT_EQ(call->Wait().value(), "echo " + large);
  EXPECT_EQ(socket->connections(), 1u);
}

TEST_F(Tls, ConnectionsThatAreCutAreMadeAgainAndCallsAreAnswered) {
  test::Link link(url_);
  const std::string url = "tls" + link.url().substr(3);
  const auto socket = RequestSocket::Dial(url, realm_.Host("alice/web-1")).value();
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 10; ++i) {
    const auto call = socket->Send(large, kPatience).value();
    if (i % 2 == 1) link.Cut();
    EXPECT_EQ(call->Wait().value(), "echo " + large);
  }
  EXPECT_GT(socket->connections(), 1u);
}

TEST(TlsContext, CredentialsThatDoNotBelongTogetherAreRefused) {
  const Realm realm;
  Credentials mixed = realm.Host("a/b");
  mixed.private_key = MakePrivateKey().value();
  EXPECT_FALSE(TlsContext::Make(TlsSide::kAsking, mixed));
  EXPECT_FALSE(TlsContext::Make(TlsSide::kAsking, Credentials()));
  EXPECT_FALSE(TlsContext::Make(TlsSide::kAsking, {"nonsense", "nonsense", "nonsense", ""}));
}

}  // namespace
}  // namespace tandem::replica
