// Begin with a life: a change set that was broken off is gone on with.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/unit/protocol_fixture.h"

namespace tandem::replica {
namespace {

const LifeId kLife(50, 51);

class ProtocolResume : public Protocol {
 protected:
  ReplyCode Send(const std::vector<Record>& records) {
    return client_.Ask(client_.MakeChunk(records)).code;
  }
  // Nullopt: the stage is a new one.
  std::optional<Resumed> BeginAgain(LifeId life = kLife) {
    const Reply reply = client_.Begin(life, 7);
    EXPECT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    const auto* resumed = std::get_if<Resumed>(&reply.body);
    return resumed == nullptr ? std::nullopt : std::optional(*resumed);
  }
  StagedObject Staged(ObjectId object) {
    const Reply reply = client_.Ask(GetStaged{client_.stage(), {object}});
    EXPECT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    return std::get<StagedObjects>(reply.body).objects.at(0);
  }
  static Record NameOf(ObjectId object, const std::string& name) {
    return EntryRecord{kRootObject, name, object};
  }
};

TEST_F(ProtocolResume, ASessionGoesOnWithWhatTheOneBeforeHasSent) {
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  const Chunk late = client_.MakeChunk({});
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(late).code, ReplyCode::kUnknownStage) << "until a Begin goes on with it";
  const auto resumed = BeginAgain();
  ASSERT_TRUE(resumed);
  EXPECT_EQ(resumed->chunks, 1u);
  EXPECT_EQ(resumed->begun_ns, 7);
  EXPECT_EQ(client_.Ask(late).code, ReplyCode::kUnknownStage);
  EXPECT_TRUE(Staged(kFile).known);
  EXPECT_EQ(Staged(kFile).ranges, (std::vector<ByteRange>{{0, 7}}));
  EXPECT_FALSE(Staged(ObjectId(8, 8)).known);
  // Only its name is sent again, and another one.
  ASSERT_EQ(Send({NameOf(kFile, "g")}), ReplyCode::kOk);
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("g"), "content");
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() + "/vol/tree/f")) << "it was not sent again";
}

TEST_F(ProtocolResume, ARestartedReplicaGoesOn) {
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  ASSERT_TRUE(BeginAgain());
  ASSERT_EQ(Send({NameOf(kFile, "f")}), ReplyCode::kOk);
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
  // What was applied is kept over another restart.
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
  EXPECT_FALSE(BeginAgain()) << "nothing is left to go on with";
}

TEST_F(ProtocolResume, AnotherLifeOrNoneBeginsAnew) {
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  EXPECT_FALSE(BeginAgain(LifeId(1, 1)));
  EXPECT_EQ(client_.Ask(GetStaged{client_.stage(), {kFile}}).code, ReplyCode::kUnknownStage);
  EXPECT_EQ(StagesIn(scratch_.path()).size(), 1u) << "the other was removed";
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  EXPECT_FALSE(BeginAgain(LifeId()));
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  EXPECT_FALSE(BeginAgain(LifeId())) << "null is no life";
  EXPECT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "");
}

TEST_F(ProtocolResume, AStageOnAnotherCutIsNotGoneOnWith) {
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  const std::string left = StagesIn(scratch_.path()).at(0);
  const std::string bytes = test::Read(left);
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "shipped")).code, ReplyCode::kOk);
  store_.reset();
  test::Write(left, bytes);  // as if it had come to be left
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_FALSE(BeginAgain());
}

TEST_F(ProtocolResume, ARepeatedBeginGetsTheSameAnswer) {
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  const CutId first = client_.stage();
  ASSERT_TRUE(BeginAgain());
  ASSERT_EQ(Send({NameOf(kFile, "f")}), ReplyCode::kOk);
  const Reply again = client_.Ask(Begin{client_.stage(), client_.base(), 0, kLife, 9});
  ASSERT_EQ(again.code, ReplyCode::kOk);
  EXPECT_EQ(std::get<Resumed>(again.body).chunks, 1u);
  EXPECT_EQ(std::get<Resumed>(again.body).begun_ns, 7);
  EXPECT_EQ(client_.Ask(Begin{first, client_.base(), 0, kLife, 9}).code, ReplyCode::kUnknownStage)
      << "it has ended";
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
}

TEST_F(ProtocolResume, WhatWasBrokenOffAtOnceIsBegunAnew) {
  ASSERT_FALSE(BeginAgain());
  EXPECT_FALSE(BeginAgain());
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  EXPECT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
}

}  // namespace
}  // namespace tandem::replica
