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
  // Its state in this attempt is what came of it before.
  static Record Again(ObjectId object, uint64_t size) {
    ObjectRecord record{object, false, false, FileOf(size)};
    record.again = true;
    return record;
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
  // Its content is not sent again.
  ASSERT_EQ(Send({Again(kFile, 7), NameOf(kFile, "g")}), ReplyCode::kOk);
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
  ASSERT_EQ(Send({Again(kFile, 7), NameOf(kFile, "f")}), ReplyCode::kOk);
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
  ASSERT_EQ(Send({Again(kFile, 7), NameOf(kFile, "f")}), ReplyCode::kOk);
  const Reply again = client_.Ask(Begin{client_.stage(), client_.base(), 0, kLife, 9});
  ASSERT_EQ(again.code, ReplyCode::kOk);
  EXPECT_EQ(std::get<Resumed>(again.body).chunks, 1u);
  EXPECT_EQ(std::get<Resumed>(again.body).begun_ns, 7);
  EXPECT_EQ(client_.Ask(Begin{first, client_.base(), 0, kLife, 9}).code, ReplyCode::kUnknownStage)
      << "it has ended";
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
}

// Whether it was complete, and is still what the source has, only the last attempt can say.
TEST_F(ProtocolResume, AnObjectThatIsNotNamedAgainIsMissing) {
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send({ObjectRecord{kFile, true, true, FileOf(7)}, Overwrite("cont")}), ReplyCode::kOk);
  ASSERT_TRUE(BeginAgain());
  // It has moved past the walk: nothing but its name and attributes come.
  ASSERT_EQ(Send({ObjectRecord{kFile, false, false, FileOf(7)}, NameOf(kFile, "f")}),
            ReplyCode::kOk);
  const Reply reply = client_.Ask(client_.MakeCommit(client_.NextCut()));
  ASSERT_EQ(reply.code, ReplyCode::kMissingObjects);
  EXPECT_EQ(reply.missing, std::vector{kFile});
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
}

// Nor do records of an earlier attempt change what the replica has.
TEST_F(ProtocolResume, WhatIsNotNamedAgainStaysAsItWas) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send({ObjectRecord{kFile, true, true, FileOf(3)}, Overwrite("new")}), ReplyCode::kOk);
  ASSERT_TRUE(BeginAgain());
  const ObjectId other(7, 7);
  ASSERT_EQ(Send(NewFile(other, "g", "other")), ReplyCode::kOk);
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
  EXPECT_EQ(Content("g"), "other");
}

TEST_F(ProtocolResume, NamedAgainInTheLastAttemptAlone) {
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send(NewFile(kFile, "f", "content")), ReplyCode::kOk);
  ASSERT_TRUE(BeginAgain());
  ASSERT_EQ(Send({Again(kFile, 7), NameOf(kFile, "f")}), ReplyCode::kOk);
  ASSERT_TRUE(BeginAgain());
  EXPECT_EQ(Staged(kFile).ranges, (std::vector<ByteRange>{{0, 7}}))
      << "named again, not begun anew";
  ASSERT_EQ(Send({NameOf(kFile, "f")}), ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(client_.MakeCommit(client_.NextCut())).code, ReplyCode::kMissingObjects);
  ASSERT_EQ(Send({Again(kFile, 7)}), ReplyCode::kOk);
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
}

// An attempt that sent the object anew, and not as a whole, is the end of what came before.
TEST_F(ProtocolResume, NamedAgainIsWhatTheLastAttemptThatSentItHas) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  ASSERT_FALSE(BeginAgain());
  ASSERT_EQ(Send({ObjectRecord{kFile, true, true, FileOf(7)}, Overwrite("cont")}), ReplyCode::kOk);
  ASSERT_TRUE(BeginAgain());
  ASSERT_EQ(Send({ObjectRecord{kFile, false, false, FileOf(7)}}), ReplyCode::kOk);
  ASSERT_TRUE(BeginAgain());
  ASSERT_EQ(Send({Again(kFile, 7)}), ReplyCode::kOk);
  ASSERT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
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
