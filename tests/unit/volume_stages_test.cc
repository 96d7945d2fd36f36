// Begin, Chunk and Commit: what is repeated, lost, or makes no sense.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/protocol_fixture.h"

namespace tandem::replica {
namespace {

TEST_F(Protocol, ACutNumberedBeyondWhatCanBeIsRefused) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  const CutName before = client_.base();
  for (const uint64_t number : {UINT64_MAX, uint64_t{1} << 63, uint64_t{1} << 61}) {
    ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
    const Reply reply = client_.Ask(client_.MakeCommit({Epoch(number), CutId(3, 3)}));
    EXPECT_EQ(reply.code, ReplyCode::kBadRequest) << number;
  }
  // Not at what is durable either, under whatever id; and without a number only what makes room.
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(client_.MakeCommit({before.epoch, CutId(3, 3)})).code,
            ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ask(client_.MakeCommit({Epoch(), CutId(3, 3)})).code, ReplyCode::kNoSpace);
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.base(), before);
  EXPECT_EQ(client_.Ship({Overwrite("later")}).code, ReplyCode::kOk);
}

TEST_F(Protocol, EveryMessageMayBeRepeated) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const replica::Begin begin{client_.stage(), client_.base()};
  const Chunk chunk = client_.MakeChunk(NewFile(kFile, "f", "content"));
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(begin).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  const Commit commit = client_.MakeCommit(client_.NextCut());
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
  EXPECT_EQ(client_.WaitApplied(commit.cut).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(begin).code, ReplyCode::kUnknownStage);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kUnknownStage);
  EXPECT_EQ(Content("f"), "content");
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.base(), commit.cut);
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
}

TEST_F(Protocol, AnIncrementIsAppliedWhenItIsAnswered) {
  const Increment increment =
      client_.MakeIncrement(NewFile(kFile, "f", "content"), client_.NextCut());
  const Reply reply = client_.Ask(increment);
  ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  EXPECT_EQ(std::get<Position>(reply.body).durable, increment.commit.cut);
  EXPECT_EQ(std::get<Position>(reply.body).applied, increment.commit.cut);
  EXPECT_EQ(Content("f"), "content");
}

TEST_F(Protocol, AnIncrementMayBeRepeated) {
  const Increment increment =
      client_.MakeIncrement(NewFile(kFile, "f", "content"), client_.NextCut());
  // Its beginning has come alone: the connection broke, and the rest is still to come.
  EXPECT_EQ(client_.Ask(increment.begin).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(increment.chunk).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(increment).code, ReplyCode::kOk);
  const Reply again = client_.Ask(increment);
  EXPECT_EQ(again.code, ReplyCode::kOk) << again.message;
  EXPECT_EQ(std::get<Position>(again.body).applied, increment.commit.cut);
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.base(), increment.commit.cut);
  EXPECT_EQ(client_.Ask(increment).code, ReplyCode::kOk);
  // Late, when the next cut has come.
  const Increment next = client_.MakeIncrement({Overwrite("CONTENT")}, client_.NextCut());
  ASSERT_EQ(client_.Ask(next).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(increment).code, ReplyCode::kWrongBase);
  EXPECT_EQ(Content("f"), "CONTENT");
}

TEST_F(Protocol, AnIncrementThatComesTwiceAtOnceCountsOnce) {
  for (int round = 0; round < 20; ++round) {
    const std::string content = "content" + std::to_string(round);
    const Increment increment =
        client_.MakeIncrement(NewFile(ObjectId(4, round + 1), content, content), client_.NextCut());
    std::vector<std::thread> copies;
    for (int i = 0; i < 3; ++i) {
      copies.emplace_back([&] {
        const Reply reply = client_.Ask(increment);
        EXPECT_EQ(reply.code, ReplyCode::kOk) << reply.message;
      });
    }
    for (std::thread& copy : copies) copy.join();
    ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
    ASSERT_EQ(client_.base(), increment.commit.cut);
    EXPECT_EQ(Content(content), content);
  }
}

TEST_F(Protocol, AnIncrementIsRefusedLikeItsParts) {
  Increment increment = client_.MakeIncrement(NewFile(kFile, "f", "content"), client_.NextCut());
  increment.begin.base = increment.commit.base = {Epoch(5), CutId(6, 6)};
  increment.commit.cut.epoch = Epoch(6);
  EXPECT_EQ(client_.Ask(increment).code, ReplyCode::kWrongBase);
  increment = client_.MakeIncrement(NewFile(kFile, "f", "content"), client_.NextCut());
  increment.chunk.checksum ^= 1;
  EXPECT_EQ(client_.Ask(increment).code, ReplyCode::kBadRequest);
  increment = client_.MakeIncrement(NewFile(kFile, "f", "content"), client_.NextCut());
  ++increment.commit.chunk_count;
  EXPECT_EQ(client_.Ask(increment).code, ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
}

TEST_F(Protocol, WhatAnIncrementLacksMayFollow) {
  const CutName cut = client_.NextCut();
  const Increment increment = client_.MakeIncrement({EntryRecord{kRootObject, "f", kFile}}, cut);
  const Reply reply = client_.Ask(increment);
  ASSERT_EQ(reply.code, ReplyCode::kMissingObjects);
  EXPECT_EQ(reply.missing, std::vector{kFile});
  ASSERT_EQ(client_.Ask(client_.MakeChunk(NewFile(kFile, "f", "content"))).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Finish(cut).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "content");
}

TEST_F(Protocol, DelayedBeginOfAnEndedStageEndsNothing) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const replica::Begin old{client_.stage(), client_.base()};
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(old).code, ReplyCode::kUnknownStage);
  EXPECT_EQ(client_.Ask(client_.MakeChunk({})).code, ReplyCode::kOk);
}

TEST_F(Protocol, WrongBaseIsRefused) {
  EXPECT_EQ(client_.Ask(replica::Begin{CutId(1, 1), {Epoch(5), CutId(6, 6)}}).code,
            ReplyCode::kWrongBase);
}

TEST_F(Protocol, DamagedOrMissingChunksAreNoticed) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  Chunk chunk = client_.MakeChunk(NewFile(kFile, "f", "content"));
  Chunk damaged = chunk;
  damaged.payload[damaged.payload.size() / 2] ^= 1;
  EXPECT_EQ(client_.Ask(damaged).code, ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ask(client_.MakeCommit(client_.NextCut())).code, ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
}

TEST_F(Protocol, UncommittedStageIsGoneAfterARestart) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const Chunk chunk = client_.MakeChunk(NewFile(kFile, "f", "content"));
  ASSERT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  Restart();
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kUnknownSession);
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kUnknownStage);
}

TEST_F(Protocol, UnknownObjectsAreNamedAndMayFollow) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const ObjectId directory(4, 4);
  ASSERT_EQ(client_
                .Ask(client_.MakeChunk({EntryRecord{kRootObject, "f", kFile},
                                        EntryRecord{kRootObject, "d", directory}}))
                .code,
            ReplyCode::kOk);
  const Reply reply = client_.Ask(client_.MakeCommit(client_.NextCut()));
  ASSERT_EQ(reply.code, ReplyCode::kMissingObjects);
  EXPECT_EQ(reply.missing, (std::vector<ObjectId>{kFile, directory}));
  auto records = NewFile(kFile, "f", "now");
  meta::Attributes attributes = FileOf(0);
  attributes.kind = meta::Kind::kDirectory;
  attributes.permissions = 0755;
  records.push_back(ObjectRecord{directory, true, true, attributes});
  ASSERT_EQ(client_.Ask(client_.MakeChunk(records)).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "now");
}

// A directory that was made and removed while it was being walked: its names were sent, it was not.
TEST_F(Protocol, NamesInADirectoryThatNobodyNamesCountForNothing) {
  const ObjectId directory(4, 4);
  ASSERT_EQ(client_
                .Ship({EntryRecord{directory, "f", kFile}, EntryRecord{directory, "g", {}},
                       EntryRecord{directory, "d", ObjectId(5, 5)}})
                .code,
            ReplyCode::kOk);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/vol/tree"));
}

TEST_F(Protocol, DirectoriesInsideThemselvesAreRefused) {
  meta::Attributes attributes = FileOf(0);
  attributes.kind = meta::Kind::kDirectory;
  attributes.permissions = 0755;
  const ObjectId a(10, 1);
  const ObjectId b(10, 2);
  ASSERT_EQ(
      client_
          .Ship({ObjectRecord{a, true, true, attributes}, ObjectRecord{b, true, true, attributes},
                 EntryRecord{kRootObject, "a", a}, EntryRecord{a, "b", b}})
          .code,
      ReplyCode::kOk);
  EXPECT_EQ(client_.Ship({EntryRecord{kRootObject, "x", b}, EntryRecord{kRootObject, "y", b}}).code,
            ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ship({EntryRecord{b, "x", a}}).code, ReplyCode::kBadRequest);
  EXPECT_TRUE(std::filesystem::exists(scratch_.path() + "/vol/tree/a/b"));
}

}  // namespace
}  // namespace tandem::replica
