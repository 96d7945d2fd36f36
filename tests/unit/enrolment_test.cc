// Both sides of an enrolment, without a network between them.
#include "tools/enrolment.h"

#include <sys/stat.h>

#include <filesystem>

#include "replica/transport/url.h"
#include "tests/process.h"
#include "tests/unit/registry_fixture.h"
#include "tools/key_renewal.h"

namespace tandem::tools {
namespace {

using replica::Credentials;
using replica::PeerIdentity;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Enrolment : public replica::RegistryTest {
 protected:
  replica::Token TokenFor(const std::string& account) {
    const std::string secret = Invite(account);
    return {{"unreachable:1", "daemon:7447", "also.daemon:7447"},
            replica::DigestOfCertificate(registry_.OwnCredentials()->authority).value(),
            secret,
            account};
  }

  // What the daemon answers; what the transport would prove is taken from the credentials.
  AskDaemon Daemon() {
    return [this](const std::string& url, const Credentials& with,
                  const std::string& bytes) -> Result<std::string> {
      ++asked_;
      const auto parsed = replica::StreamUrl::Parse(url);
      if (!parsed || parsed->address != "tcp://" + address_) {
        return MakeError(ErrorKind::kUnreachable, "connect to " + url, ECONNREFUSED);
      }
      PeerIdentity peer = Stranger();
      if (!with.certificate.empty()) {
        peer.kind = PeerIdentity::Kind::kKey;
        peer.key = replica::KeyOfCertificate(with.certificate).value();
        peer.name = replica::NameOfCertificate(with.certificate).value();
      }
      const auto request = replica::DecodeRequest(bytes);
      EXPECT_TRUE(request) << request.error().ToString();
      auto reply = replica::AnswerAboutKeys(registry_, request->body, peer).value();
      if (loses_answers_) return MakeError(ErrorKind::kUnreachable, "the answer is lost", EPIPE);
      return replica::EncodeReply(reply);
    };
  }
  Result<std::string> Enrolled(const replica::Token& token) {
    return tools::Enrol(token, keys_, Daemon());
  }
  PeerIdentity Peer() {
    const auto with = CredentialsFor("tls://daemon:7447", keys_);
    EXPECT_TRUE(with) << with.error().ToString();
    return {PeerIdentity::Kind::kKey, 0, replica::KeyOfCertificate(with->certificate).value(),
            replica::NameOfCertificate(with->certificate).value(), "192.0.2.9"};
  }
  size_t FilesLeft() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(keys_directory_)) {
      count += entry.path().filename() != "lock";
      struct stat found;
      EXPECT_EQ(0, stat(entry.path().c_str(), &found));
      EXPECT_EQ(found.st_mode & 07777, 0600u) << entry.path();
    }
    return count;
  }

  const std::string keys_directory_ = scratch_.Path("config/tandemfs/keys");
  const HostKeys keys_{keys_directory_};
  std::string address_ = "daemon:7447";  // where the daemon answers
  std::atomic<int> asked_{0};
  bool loses_answers_ = false;
};

TEST_F(Enrolment, GivesCredentialsForTheUrlAlone) {
  const auto url = Enrolled(TokenFor("alice"));
  ASSERT_TRUE(url) << url.error().ToString();
  EXPECT_EQ(*url, "tls://daemon:7447");
  EXPECT_EQ(registry_.RightsOf(Peer())->account, "alice");
  EXPECT_EQ(FilesLeft(), 1u);
  const auto by_another = CredentialsFor("tls://also.daemon:7447", keys_);
  ASSERT_TRUE(by_another) << "an address that the token had too";
  EXPECT_EQ(by_another->private_key, CredentialsFor(*url, keys_)->private_key);
  EXPECT_TRUE(CredentialsFor("tcp://127.0.0.1:7447", keys_)->certificate.empty());
}

TEST_F(Enrolment, IsDoneOnce) {
  const auto token = TokenFor("alice");
  ASSERT_TRUE(Enrolled(token));
  const int before = asked_.load();
  now_ = now_ + 1'000'000;  // the token has long expired
  EXPECT_EQ(Enrolled(token).value(), "tls://daemon:7447");
  EXPECT_EQ(asked_.load(), before);
}

TEST_F(Enrolment, ThatLostItsAnswerIsCompletedByAnother) {
  const auto token = TokenFor("alice");
  loses_answers_ = true;
  const auto failed = Enrolled(token);
  ASSERT_FALSE(failed);
  EXPECT_THAT(
      failed.error().ToString(),
      AllOf(HasSubstr("unreachable:1"), HasSubstr("the answer is lost"), HasSubstr("firewall")));
  ASSERT_EQ(files_.Read()->identities.size(), 1u) << "the daemon has made the identity";
  loses_answers_ = false;
  ASSERT_TRUE(Enrolled(token));
  EXPECT_EQ(files_.Read()->identities.size(), 1u);
  EXPECT_EQ(registry_.RightsOf(Peer())->account, "alice");
  EXPECT_EQ(FilesLeft(), 1u);
}

TEST_F(Enrolment, ThatDiedBeforeItForgotTheInvitationIsComplete) {
  const auto token = TokenFor("alice");
  ASSERT_TRUE(Enrolled(token));
  ASSERT_TRUE(keys_.KeyForInvitation(replica::Sha256Hex(token.secret)));
  EXPECT_EQ(FilesLeft(), 2u);
  EXPECT_TRUE(Enrolled(token));
  EXPECT_EQ(FilesLeft(), 1u);
}

TEST_F(Enrolment, OfAnotherHostWithTheSameTokenIsRefused) {
  const auto token = TokenFor("alice");
  ASSERT_TRUE(Enrolled(token));
  const auto thief = tools::Enrol(token, HostKeys(scratch_.Path("thief")), Daemon());
  ASSERT_FALSE(thief);
  EXPECT_THAT(thief.error().ToString(),
              AllOf(HasSubstr("tls://daemon:7447"), HasSubstr("a different host has used this")));
}

TEST_F(Enrolment, BelievesNoOtherAuthority) {
  auto token = TokenFor("alice");
  token.authority_digest[0] = token.authority_digest[0] == '0' ? '1' : '0';
  const auto enrolled = Enrolled(token);
  ASSERT_FALSE(enrolled);
  EXPECT_THAT(enrolled.error().ToString(), HasSubstr("authority"));
  EXPECT_FALSE(CredentialsFor("tls://daemon:7447", keys_));
}

TEST_F(Enrolment, AfterARevocationWorksWithANewInvitation) {
  ASSERT_TRUE(Enrolled(TokenFor("alice")));
  const PeerIdentity former = Peer();
  Change([&](replica::Accounts& all) { all.FindIdentity(former.name)->revoked = true; });
  ASSERT_TRUE(Enrolled(TokenFor("alice")));
  EXPECT_TRUE(registry_.RightsOf(Peer()));
  EXPECT_FALSE(registry_.RightsOf(former));
}

TEST_F(Enrolment, AsAnotherAccountLeavesTheFirstKeyAlone) {
  ASSERT_EQ(Enrolled(TokenFor("alice")).value(), "tls://daemon:7447");
  const auto of = [this](const std::string& url) {
    const auto with = CredentialsFor(url, keys_);
    if (!with) return with.error().ToString();
    const std::string name = replica::NameOfCertificate(with->certificate).value();
    return name.substr(0, name.find('/'));
  };
  EXPECT_EQ(of("tls://alice@daemon:7447"), "alice");
  const auto token = TokenFor("bob");
  EXPECT_EQ(Enrolled(token).value(), "tls://bob@daemon:7447");
  EXPECT_EQ(Enrolled(token).value(), "tls://bob@daemon:7447") << "again";
  EXPECT_EQ(of("tls://daemon:7447"), "alice");
  EXPECT_EQ(of("tls://bob@daemon:7447"), "bob");
  EXPECT_EQ(of("tls://bob@also.daemon:7447"), "bob");
  EXPECT_THAT(of("tls://also.daemon:7447"),
              AllOf(HasSubstr("tls://alice@also.daemon:7447"), HasSubstr("tls://bob@also")));
  EXPECT_THAT(of("tls://carol@daemon:7447"), HasSubstr("no key for it"));
  EXPECT_FALSE(RenewIfAsked("tls://bob@daemon:7447", keys_, Daemon()).value());
}

TEST_F(Enrolment, AtAnotherAddressReplacesTheKeyOfTheSameAccount) {
  ASSERT_EQ(Enrolled(TokenFor("alice")).value(), "tls://daemon:7447");
  const std::string former = CredentialsFor("tls://daemon:7447", keys_)->private_key;
  address_ = "also.daemon:7447";
  EXPECT_EQ(Enrolled(TokenFor("alice")).value(), "tls://also.daemon:7447");
  EXPECT_EQ(FilesLeft(), 1u);
  const std::string key = CredentialsFor("tls://also.daemon:7447", keys_)->private_key;
  EXPECT_NE(key, former);
  for (const std::string place : {"daemon:7447", "alice@daemon:7447", "unreachable:1"}) {
    EXPECT_EQ(CredentialsFor("tls://" + place, keys_)->private_key, key) << place;
  }
}

TEST_F(Enrolment, IsNeededForTls) {
  const auto without = CredentialsFor("tls://daemon:7447", keys_);
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().kind(), ErrorKind::kUsage);
  EXPECT_THAT(without.error().ToString(),
              AllOf(HasSubstr(keys_directory_ + "/daemon:7447.json"), HasSubstr("tandemd invite"),
                    HasSubstr("--replica [NAME=]@FILE")));
}

TEST_F(Enrolment, KeysThatOthersCanReadOrThatAreDamagedAreRefused) {
  ASSERT_TRUE(Enrolled(TokenFor("alice")));
  const std::string path = keys_.PathOf("daemon:7447");
  for (const mode_t mode : {0640, 0604, 0602}) {
    ASSERT_EQ(0, chmod(path.c_str(), mode));
    EXPECT_THAT(CredentialsFor("tls://daemon:7447", keys_).error().ToString(),
                AllOf(HasSubstr(path), HasSubstr("chmod 600")));
  }
  ASSERT_EQ(0, chmod(path.c_str(), 0600));
  ASSERT_TRUE(CredentialsFor("tls://daemon:7447", keys_));
  std::string text = test::Read(path);
  test::Write(path, text.substr(0, text.size() / 2));
  const std::string why = CredentialsFor("tls://daemon:7447", keys_).error().ToString();
  EXPECT_THAT(why,
              AllOf(HasSubstr(path), HasSubstr("damaged"), HasSubstr("enrol this host again")));
  EXPECT_THAT(why, ::testing::Not(HasSubstr("BEGIN")));
  test::Write(path, text.replace(text.find("\"format\": 1"), 11, "\"format\": 2"));
  EXPECT_THAT(CredentialsFor("tls://daemon:7447", keys_).error().ToString(),
              HasSubstr("upgrade tandemfs"));
}

TEST_F(Enrolment, KeysAreRenewedWhenTheDaemonWantsIt) {
  ASSERT_TRUE(Enrolled(TokenFor("alice")));
  const PeerIdentity former = Peer();
  EXPECT_FALSE(RenewIfAsked("tls://daemon:7447", keys_, Daemon()).value());
  Change([](replica::Accounts& all) { all.identities.front().must_renew = true; });
  loses_answers_ = true;
  EXPECT_FALSE(RenewIfAsked("tls://daemon:7447", keys_, Daemon()));
  loses_answers_ = false;
  EXPECT_EQ(Peer().key, former.key);
  const auto renewed = RenewIfAsked("tls://daemon:7447", keys_, Daemon());
  ASSERT_TRUE(renewed) << renewed.error().ToString();
  EXPECT_TRUE(*renewed);
  EXPECT_NE(Peer().key, former.key);
  EXPECT_EQ(Peer().name, former.name);
  EXPECT_TRUE(registry_.RightsOf(former)) << "another mount may hold it still";
  EXPECT_TRUE(registry_.RightsOf(Peer()));
  EXPECT_FALSE(RenewIfAsked("tls://daemon:7447", keys_, Daemon()).value());
}

TEST_F(Enrolment, ARenewalIsCompletedWhereverItDied) {
  ASSERT_TRUE(Enrolled(TokenFor("alice")));
  Change([](replica::Accounts& all) { all.identities.front().must_renew = true; });
  // The daemon has certified the new key, and the host has been killed before the answer came.
  auto key = keys_.Find("daemon:7447").value().value();
  key.next_private_key = replica::MakePrivateKey().value();
  ASSERT_TRUE(keys_.Store(key));
  ASSERT_TRUE(
      registry_.Renew({replica::MakeCertificateRequest(key.next_private_key).value()}, Peer()));
  ASSERT_TRUE(RenewIfAsked("tls://daemon:7447", keys_, Daemon()).value());
  EXPECT_EQ(CredentialsFor("tls://daemon:7447", keys_)->private_key, key.next_private_key);
  EXPECT_TRUE(registry_.RightsOf(Peer()));
}

TEST_F(Enrolment, AMountRenewsItsKeysByItself) {
  ASSERT_TRUE(Enrolled(TokenFor("alice")));
  const PeerIdentity former = Peer();
  std::atomic<int> renewed{0};
  const KeyRenewal renewal(
      {[] {
         return std::vector<std::string>{"tcp://127.0.0.1:1", "tls://daemon:7447"};
       },
       keys_, Daemon(), [] {},
       [&](const std::string& url) { renewed += url == "tls://daemon:7447"; },
       std::chrono::milliseconds(10)});
  Change([](replica::Accounts& all) { all.identities.front().must_renew = true; });
  EXPECT_TRUE(test::WaitFor([&] { return renewed == 1; }));
  EXPECT_NE(Peer().key, former.key);
  EXPECT_TRUE(registry_.RightsOf(Peer()));
}

TEST_F(Enrolment, TokensAreReadFromFiles) {
  const std::string path = scratch_.Path("token");
  const auto token = TokenFor("alice");
  test::Write(path, replica::FormatToken(token) + "\nother lines\n");
  ASSERT_EQ(0, chmod(path.c_str(), 0644));
  testing::internal::CaptureStderr();
  const auto read = ReadToken(path);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr(path), HasSubstr("chmod 600")));
  ASSERT_TRUE(read) << read.error().ToString();
  EXPECT_EQ(read->secret, token.secret);
  ASSERT_EQ(0, chmod(path.c_str(), 0600));
  testing::internal::CaptureStderr();
  EXPECT_TRUE(ReadToken(path));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_THAT(ReadToken(scratch_.Path("none")).error().ToString(),
              HasSubstr(scratch_.Path("none")));
  test::Write(path, std::string(100'000, 'x'));
  EXPECT_THAT(ReadToken(path).error().ToString(), AllOf(HasSubstr(path), HasSubstr("longer")));
}

}  // namespace
}  // namespace tandem::tools
