// Tokens, keys and accounts over a real connection: what a host may ask with what it has, and that
// a refusal tells nothing of what is another's.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "replica/transport/certificates.h"
#include "replica/transport/token.h"
#include "replica/transport/transport.h"
#include "replica/wire/messages.h"
#include "tests/enrolled_mount.h"
#include "tests/files.h"
#include "tools/enrolment.h"

namespace tandem::test {
namespace {

using replica::Credentials;
using replica::Hello;
using replica::Reply;
using replica::ReplyCode;
using replica::RequestBody;
using replica::RequestSocket;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kAnswerWithin{10'000};

class Tokens : public EnrolledMount {
 protected:
  // The bytes of the answer.
  static std::string AnswerTo(RequestSocket& socket, RequestBody body, SessionId session = {}) {
    const auto answer =
        socket.Ask(replica::EncodeRequest({session, std::move(body)}), kAnswerWithin);
    EXPECT_TRUE(answer) << answer.error().ToString();
    return answer.value_or("");
  }
  static Reply ReplyTo(RequestSocket& socket, RequestBody body, SessionId session = {}) {
    return replica::DecodeReply(AnswerTo(socket, std::move(body), session)).value();
  }
  static Hello HelloTo(const std::string& volume) {
    return {1, 1, volume, VolumeId(9, 9), "host:/", RunId(9, 9)};
  }
  std::unique_ptr<RequestSocket> Connect(const Credentials& with) {
    return RequestSocket::Dial(tls_url_, with).value();
  }
  Outcome RunMount() { return Execute(Launch{mount_.Command(), mount_.options().environment}); }
};

// As after a kill between the daemon's answer and the writing of the key.
TEST_F(Tokens, TheSameKeyMayUseATokenAgain) {
  const auto token = replica::ParseToken(Invite()).value();
  const tools::HostKeys keys(keys_);
  {
    const auto lock = keys.Lock().value();
    ASSERT_TRUE(keys.KeyForInvitation(replica::Sha256Hex(token.secret)));
  }
  const std::string copy = scratch_.Path("copy");
  std::filesystem::copy(keys_, copy);
  ASSERT_TRUE(tools::Enrol(token, keys, tools::AskOverNetwork));
  const std::string name = Identity()["name"];
  std::filesystem::remove_all(keys_);
  std::filesystem::rename(copy, keys_);
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(IsSame());
  EXPECT_EQ(keys.Find(address_).value()->identity, name);
  EXPECT_THAT(Tandemd({"account", "list"}).out, Not(HasSubstr("ANOTHER HOST")));
}

TEST_F(Tokens, AnExpiredTokenIsRefusedAndSaysWhatToDo) {
  Invite({"--expires", "1s"});
  // It counts whole seconds.
  std::this_thread::sleep_for(milliseconds(2000));
  const Outcome refused = RunMount();
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("has expired"), HasSubstr("tandemd invite ACCOUNT"),
                                 HasSubstr(tls_url_)));
  EXPECT_TRUE(WaitFor([&] {
    return replica_.process().err().find("enrolments refused: 1") != std::string::npos;
  })) << replica_.process().err();
  EXPECT_FALSE(std::filesystem::exists(Tree()));
}

TEST_F(Tokens, AWithdrawnTokenIsRefused) {
  Invite();
  ASSERT_EQ(Tandemd({"account", "revoke", "alice"}).code, 0);
  const Outcome refused = RunMount();
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, HasSubstr("was withdrawn"));
}

// The answers are compared byte for byte, but for the name that was asked for.
TEST_F(Tokens, NoAnswerTellsWhetherAnotherAccountsVolumeExists) {
  ASSERT_TRUE(StartEnrolled());
  ASSERT_EQ(std::string(kVolume).size(), 6u);  // as "absent" has
  const auto without = [](std::string answer, const std::string& name) {
    const size_t at = answer.find("volume " + name + " ");
    EXPECT_NE(at, std::string::npos) << answer;
    return at == std::string::npos ? answer : answer.erase(at, name.size() + 8);
  };
  // A host that may use other volumes only is refused by its rights.
  const auto limited = Connect(EnrolHost("bob", {"--volume", "bob-*"}));
  const std::string refused = AnswerTo(*limited, HelloTo(kVolume));
  EXPECT_EQ(without(refused, kVolume), without(AnswerTo(*limited, HelloTo("absent")), "absent"));
  const Reply reply = replica::DecodeReply(refused).value();
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_THAT(reply.message, AllOf(HasSubstr("may not use volume"), Not(HasSubstr("alice"))));
  // Others get volumes of their own by these names.
  const auto free = Connect(EnrolHost("carol"));
  const auto position = [&](const std::string& volume) {
    auto opened = ReplyTo(*free, HelloTo(volume));
    EXPECT_EQ(opened.code, ReplyCode::kOk) << opened.message;
    std::get<replica::Position>(opened.body).session = {};
    return replica::EncodeReply(opened);
  };
  EXPECT_EQ(position(kVolume), position("absent"));
  EXPECT_TRUE(std::filesystem::is_empty(replica_.store() + "/carol/" + kVolume + "/tree"));
  EXPECT_TRUE(IsSame());
  EXPECT_EQ(mount_.Verify().code, 0);
}

// Neither to another account nor to another host of the same one.
TEST_F(Tokens, AStolenSessionIsWorthNothing) {
  ASSERT_TRUE(StartEnrolled());
  const auto owner = Connect(EnrolHost("alice"));
  const auto opened = ReplyTo(*owner, HelloTo("another"));
  ASSERT_EQ(opened.code, ReplyCode::kOk) << opened.message;
  const SessionId session = std::get<replica::Position>(opened.body).session;
  const RequestBody list = replica::List{kRootObject, replica::Origin::kDatabase, "", false};
  ASSERT_EQ(ReplyTo(*owner, list, session).code, ReplyCode::kOk);
  for (const char* account : {"bob", "alice"}) {
    const auto thief = Connect(EnrolHost(account));
    for (const RequestBody& body : std::initializer_list<RequestBody>{
             list, replica::Begin{CutId(2, 2), {}, 0},
             replica::Chunk{CutId(2, 2), 0, 0, 0, "chunk"},
             replica::Commit{CutId(2, 2), {}, {Epoch(1), CutId(1, 1)}, 0, 0, 0},
             replica::WaitApplied{}, replica::GetSignature{kRootObject, 0, 1},
             replica::GetDigests{kRootObject, 0, 512, {512}},
             replica::Find{{kRootObject}, replica::Origin::kDisk, true}}) {
      const std::string stolen = AnswerTo(*thief, body, session);
      EXPECT_EQ(stolen, AnswerTo(*thief, body, SessionId::Random())) << account;
      EXPECT_EQ(replica::DecodeReply(stolen)->code, ReplyCode::kUnknownSession) << account;
    }
  }
  EXPECT_EQ(ReplyTo(*owner, list, session).code, ReplyCode::kOk) << "it goes on";
  EXPECT_TRUE(IsSame());
}

// What was asked before is answered, what is asked after is refused, over one connection.
TEST_F(Tokens, ARevocationCountsFromTheNextRequestOnAConnection) {
  const auto host = Connect(EnrolHost("bob"));
  const auto opened = ReplyTo(*host, HelloTo("data"));
  ASSERT_EQ(opened.code, ReplyCode::kOk) << opened.message;
  const SessionId session = std::get<replica::Position>(opened.body).session;
  const RequestBody begin = replica::Begin{CutId(2, 2), {}, 0};
  ASSERT_EQ(ReplyTo(*host, begin, session).code, ReplyCode::kOk);
  ASSERT_EQ(Tandemd({"account", "revoke", "bob"}).code, 0);
  for (const RequestBody& body :
       {begin, RequestBody(HelloTo("data")), RequestBody(replica::Renew{})}) {
    const Reply refused = ReplyTo(*host, body, session);
    EXPECT_EQ(refused.code, ReplyCode::kRefused);
    EXPECT_THAT(refused.message, HasSubstr("revoked"));
  }
  EXPECT_EQ(host->connections(), 1u);
}

}  // namespace
}  // namespace tandem::test
