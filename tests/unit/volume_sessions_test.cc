// Who may write a volume, and which volumes there are.
#include <gmock/gmock.h>

#include <memory>

#include "tests/unit/protocol_fixture.h"

namespace tandem::replica {
namespace {

TEST_F(Protocol, SecondDaemonIsKeptOutOfTheStore) {
  const auto second = Store::Open(scratch_.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kUsage);
}

TEST_F(Protocol, AnotherSourceOfTheVolumeIsRefused) {
  ReplicaClient other(*store_, "vol", VolumeId(8, 8));
  const Reply reply = other.Greet();
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_NE(reply.message.find("vol"), std::string::npos);
  EXPECT_EQ(client_.Begin().code, ReplyCode::kOk) << "the rightful session goes on";
}

TEST_F(Protocol, VersionsWithoutOverlapAreRefused) {
  const Reply newer = client_.Ask(Hello{7, 9, "vol", VolumeId(1, 1), ""});
  EXPECT_EQ(newer.code, ReplyCode::kVersion);
  EXPECT_THAT(newer.message, ::testing::HasSubstr("the source 7 to 9: upgrade tandemd"));
  const Reply older = client_.Ask(Hello{0, 0, "vol", VolumeId(1, 1), ""});
  EXPECT_EQ(older.code, ReplyCode::kVersion);
  EXPECT_THAT(older.message, ::testing::HasSubstr("the source 0 to 0: upgrade tandemfs"));
}

TEST_F(Protocol, TheNewestVersionThatBothSpeakIsChosen) {
  for (const auto& [newest, chosen] : {std::pair{1, 1}, {2, 2}, {9, int{kProtocolNewest}}}) {
    const Reply reply =
        client_.Ask(Hello{1, static_cast<uint32_t>(newest), "vol", VolumeId(1, 1), "test"});
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    EXPECT_EQ(std::get<Position>(reply.body).protocol, static_cast<uint32_t>(chosen));
  }
}

TEST_F(Protocol, AnotherSourceIsRefusedWhileOneIsThere) {
  const Hello twin{1, 1, "vol", VolumeId(1, 1), "another host:/source"};
  const Reply reply = client_.Ask(twin);
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_NE(reply.message.find("is being written by test"), std::string::npos) << reply.message;
  EXPECT_EQ(client_.Begin().code, ReplyCode::kOk) << "the other session goes on";
}

// A cloned machine: all it says of itself is the same.
TEST_F(Protocol, OfTwoRunsWithOneIdentityTheSecondIsRefused) {
  const Hello first{1, 1, "vol", VolumeId(1, 1), "host:/source", RunId(1, 1)};
  const Hello second{1, 1, "vol", VolumeId(1, 1), "host:/source", RunId(2, 2)};
  const auto connection = std::make_shared<Connection>();
  const auto say = [&](const Hello& hello, const ConnectionRef& over) {
    return DecodeReply(store_->Answer(EncodeRequest({{}, hello}), over)).value();
  };
  // The client of the fixture is from before there were runs.
  Restart();
  const Reply opened = say(first, connection);
  ASSERT_EQ(opened.code, ReplyCode::kOk) << opened.message;
  const SessionId session = std::get<Position>(opened.body).session;
  const Reply refused = say(second, std::make_shared<Connection>());
  EXPECT_EQ(refused.code, ReplyCode::kRefused);
  EXPECT_NE(refused.message.find("written by host:/source, and host:/source has the same identity"),
            std::string::npos)
      << refused.message;
  const auto undisturbed = DecodeReply(
      store_->Answer(EncodeRequest({session, replica::WaitApplied{{}, 0}}), connection));
  EXPECT_EQ(undisturbed->code, ReplyCode::kOk) << undisturbed->message;
  EXPECT_EQ(say(first, connection).code, ReplyCode::kOk) << "the same run says Hello again";
  connection->NoteClosed();  // it was killed
  EXPECT_EQ(say(second, std::make_shared<Connection>()).code, ReplyCode::kOk);
  EXPECT_EQ(say(first, std::make_shared<Connection>()).code, ReplyCode::kRefused);
}

TEST_F(Protocol, NewHelloEndsTheOlderSession) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  ReplicaClient newer(*store_);
  ASSERT_EQ(newer.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(client_.MakeChunk({})).code, ReplyCode::kUnknownSession);
}

TEST_F(Protocol, VolumeNamesCannotLeaveTheStore) {
  for (const char* name : {"..", ".", ".lock", "a/b", "../x", ""}) {
    ReplicaClient client(*store_, name, VolumeId(5, 5));
    EXPECT_EQ(client.Greet().code, ReplyCode::kBadRequest) << name;
  }
}

}  // namespace
}  // namespace tandem::replica
