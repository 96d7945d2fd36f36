// A stage that is broken off and gone on with: what stays of it, and what does not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "replica/apply/stage.h"
#include "replica/wire/chunk_payload.h"
#include "tests/files.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

const VolumeId kOwner(1, 2);
const CutName kStart{Epoch(3), CutId(4, 5)};
const CutName kGoal{Epoch(6), CutId(7, 8)};
const LifeId kSourceLife(10, 11), kStoreLife(12, 13);
const ObjectId kLarge(20, 1), kPieces(20, 2);

class StageResume : public testing::Test {
 protected:
  StageResume() : fd_(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY)) {}

  std::shared_ptr<Stage> Make(LifeId source = kSourceLife) {
    return Stage::Create(fd_.get(), kOwner, CutId(1, 1), kStart, {source, 77, kStoreLife}).value();
  }
  // As a chunk is taken from the wire.
  static void Take(Stage& stage, uint64_t sequence, std::vector<Record> records) {
    ASSERT_TRUE(stage.files().Take(records, sequence));
    ASSERT_TRUE(stage.Append({sequence, 0, 1000 + sequence, EncodeRecords(records)},
                             OutlineOf(records), Stage::ContentIn(records)));
  }
  static std::vector<Record> Name(uint64_t number) {
    return {EntryRecord{kRootObject, "n" + std::to_string(number), ObjectId(9, number)}};
  }
  static std::vector<Record> Small(ObjectId object, const std::string& bytes) {
    ObjectRecord record{object, true, true, {}};
    record.attributes.kind = meta::Kind::kFile;
    record.attributes.size = bytes.size();
    return {record, DataRecord{object, 0, bytes.size(), Encoding::kLiteral, bytes, {}, 0, 0, 0}};
  }
  static DataRecord Fresh(ObjectId object, uint64_t offset, const std::string& bytes) {
    DataRecord record{object, offset, bytes.size(), Encoding::kLiteral, bytes, {}, 0, 0, 0};
    record.fresh = true;
    return record;
  }
  static uint64_t DigestFrom(uint64_t first, uint64_t end) {
    std::vector<uint64_t> checksums;
    for (uint64_t sequence = first; sequence < end; ++sequence)
      checksums.push_back(1000 + sequence);
    return DigestOf(checksums);
  }
  Result<std::shared_ptr<Stage>> RecoverOpen(const Stage& stage, LifeId life = kStoreLife) {
    return Stage::RecoverOpen(fd_.get(), stage.name(), kOwner, life);
  }
  std::string PathOf(const Stage& stage) { return scratch_.path() + "/" + stage.name(); }

  ScratchDirectory scratch_;
  UniqueFd fd_;
};

TEST_F(StageResume, KeepsTheChunksThatFormAWholeBeginning) {
  // Frames of 0, 1, 3, 2 are whole; 5 is not, without 4.
  const auto stage = Make();
  for (const uint64_t sequence : {0, 1, 3, 2, 5}) Take(*stage, sequence, Name(sequence));
  EXPECT_EQ(stage->Resume(CutId(2, 2)).value(), 4u);
  EXPECT_EQ(stage->chunk_count(), 4u);
  for (const Outline* outline : stage->Outlines()) EXPECT_TRUE(outline->entries.empty());
  Take(*stage, 4, Name(40));
  Take(*stage, 5, Name(50));
  EXPECT_FALSE(stage->CheckComplete(6, DigestFrom(0, 6))) << "what came before is not counted";
  ASSERT_TRUE(stage->Commit({kGoal, 0, 6, DigestFrom(4, 6)}));
  const auto recovered = Stage::Recover(fd_.get(), stage->name(), kOwner);
  ASSERT_TRUE(recovered) << recovered.error().ToString();
  const auto outlines = (*recovered)->Outlines();
  ASSERT_EQ(outlines.size(), 6u);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(outlines[i]->entries.empty()) << i;
  EXPECT_EQ(outlines[4]->entries[0].key.name, "n40");
  EXPECT_EQ(outlines[5]->entries[0].key.name, "n50");
}

TEST_F(StageResume, IsGoneOnWithAgainAndAgain) {
  const auto stage = Make();
  Take(*stage, 0, Name(0));
  EXPECT_EQ(stage->Resume(CutId(2, 2)).value(), 1u);
  Take(*stage, 2, Name(2));  // 1 is lost
  EXPECT_EQ(stage->Resume(CutId(3, 3)).value(), 1u);
  Take(*stage, 1, Name(1));
  Take(*stage, 2, Name(22));
  EXPECT_EQ(stage->Resume(CutId(4, 4)).value(), 3u);
  const auto recovered = RecoverOpen(*stage);
  ASSERT_TRUE(recovered) << recovered.error().ToString();
  EXPECT_EQ((*recovered)->Resume(CutId(5, 5)).value(), 3u);
  Take(**recovered, 3, Name(3));
  ASSERT_TRUE((*recovered)->Commit({kGoal, 0, 4, DigestFrom(3, 4)}));
  EXPECT_TRUE(Stage::Recover(fd_.get(), stage->name(), kOwner));
}

TEST_F(StageResume, ChunksOfTheAttemptBeforeAreNotTaken) {
  const auto stage = Make();
  EXPECT_TRUE(Stage::Taking(*stage, CutId(1, 1), 0).possible());
  stage->Park();
  EXPECT_FALSE(Stage::Taking(*stage, CutId(1, 1), 0).possible());
  ASSERT_TRUE(stage->Resume(CutId(2, 2)));
  EXPECT_FALSE(Stage::Taking(*stage, CutId(1, 1), 0).possible());
  EXPECT_TRUE(Stage::Taking(*stage, CutId(2, 2), 0).possible());
}

TEST_F(StageResume, WaitsForTheChunkThatIsBeingTaken) {
  const auto stage = Make();
  auto taking = std::make_unique<Stage::Taking>(*stage, CutId(1, 1), 0);
  std::atomic<bool> resumed{false};
  std::thread other([&] {
    EXPECT_EQ(stage->Resume(CutId(2, 2)).value(), 1u);
    resumed = true;
  });
  Take(*stage, 0, Name(0));
  EXPECT_FALSE(resumed);
  taking.reset();
  other.join();
}

TEST_F(StageResume, AfterARestartItIsThereInTheSameLifeOnly) {
  const auto stage = Make();
  Take(*stage, 0, Small(kLarge, "content"));
  EXPECT_EQ(RecoverOpen(*stage, LifeId(1, 1)).error().kind(), ErrorKind::kCorrupt);
  {
    const auto recovered = RecoverOpen(*stage);
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    EXPECT_EQ((*recovered)->origin().source, kSourceLife);
    EXPECT_EQ((*recovered)->origin().begun_ns, 77);
    EXPECT_EQ((*recovered)->base(), kStart);
    EXPECT_EQ((*recovered)->content().literal, 7u);
    EXPECT_FALSE(Stage::Taking(**recovered, CutId(1, 1), 1).possible());
    EXPECT_FALSE(Stage::Taking(**recovered, CutId(), 1).possible());
  }
  // A frame that was cut off, wherever, takes nothing else with it.
  const auto whole = static_cast<off_t>(stage->file_bytes());
  Take(*stage, 1, Name(1));
  for (auto size = static_cast<off_t>(stage->file_bytes()) - 1; size >= whole; --size) {
    ASSERT_EQ(truncate(PathOf(*stage).c_str(), size), 0);
    const auto recovered = RecoverOpen(*stage);
    ASSERT_TRUE(recovered) << size;
    ASSERT_EQ((*recovered)->chunk_count(), 1u) << size;
  }
}

TEST_F(StageResume, OneWhoseSourceNamesNoLifeIsNotGoneOnWith) {
  const auto stage = Make(LifeId());
  Take(*stage, 0, Name(0));
  EXPECT_EQ(RecoverOpen(*stage).error().kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(stage->Resume(CutId(2, 2)).value(), std::nullopt);
}

TEST_F(StageResume, StagedFilesAreFoundAgainOrTheStageIsNot) {
  const auto stage = Make();
  Take(*stage, 0, {Small(kLarge, "")[0], Fresh(kLarge, 0, std::string(5000, 'a'))});
  Take(*stage, 1, {Fresh(kLarge, 5000, std::string(5000, 'b'))});
  {
    const auto recovered = RecoverOpen(*stage);
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    EXPECT_EQ((*recovered)->content().staged, 10'000u);
    ASSERT_EQ((*recovered)->Resume(CutId(2, 2)).value(), 2u);
    Take(**recovered, 2, {Fresh(kLarge, 10'000, std::string(10, 'c'))});
    ASSERT_TRUE((*recovered)->Commit({kGoal, 0, 3, DigestFrom(2, 3)}));
    EXPECT_EQ(std::get<DataRecord>((*recovered)->Read(2)->front()).basis,
              std::get<DataRecord>((*recovered)->Read(1)->front()).basis)
        << "one file";
  }
  const std::string directory = scratch_.path() + "/" + CutId(1, 1).ToHex() + ".files/";
  EXPECT_EQ(test::Read(directory + kLarge.ToHex()),
            std::string(5000, 'a') + std::string(5000, 'b') + std::string(10, 'c'));
}

TEST_F(StageResume, WithoutOneOfItsFilesAStageIsNotGoneOnWith) {
  const auto stage = Make();
  Take(*stage, 0, {Small(kLarge, "")[0], Fresh(kLarge, 0, std::string(5000, 'a'))});
  const std::string file = scratch_.path() + "/" + CutId(1, 1).ToHex() + ".files/" + kLarge.ToHex();
  const std::string content = test::Read(file);
  ASSERT_EQ(0, rename(file.c_str(), (file + "x").c_str()));
  test::Write(file, content);
  EXPECT_EQ(RecoverOpen(*stage).error().kind(), ErrorKind::kCorrupt) << "another file has its name";
  ASSERT_EQ(0, unlink(file.c_str()));
  EXPECT_EQ(RecoverOpen(*stage).error().kind(), ErrorKind::kCorrupt);
  ASSERT_EQ(0, rename((file + "x").c_str(), file.c_str()));
  EXPECT_TRUE(RecoverOpen(*stage));
}

// The file of an object whose first fresh chunk is cut off must not be taken for its content.
TEST_F(StageResume, AFileOfChunksThatAreCutOffIsMadeAnew) {
  const auto stage = Make();
  Take(*stage, 0, Name(0));
  Take(*stage, 2, {Small(kLarge, "")[0], Fresh(kLarge, 0, std::string(5000, 'a'))});
  ASSERT_EQ(stage->Resume(CutId(2, 2)).value(), 1u);
  Take(*stage, 1, {Small(kLarge, "")[0], Fresh(kLarge, 100, "b")});
  const std::string file = scratch_.path() + "/" + CutId(1, 1).ToHex() + ".files/" + kLarge.ToHex();
  EXPECT_EQ(test::Read(file), std::string(100, '\0') + "b");
}

TEST_F(StageResume, PiecesThatLaterContentDestroyedAreNotGoneOnWith) {
  const std::string piece(1 << 20, 'p');
  const auto stage = Make();
  Take(*stage, 0, {DataRecord{kPieces, 0, piece.size(), Encoding::kLiteral, piece, {}, 0, 0, 0}});
  if (stage->content().staged == 0) GTEST_SUCCEED() << "this filesystem shares no blocks";
  const bool shares = stage->content().staged != 0;
  Take(*stage, 2, {Small(kPieces, "")[0], Fresh(kPieces, 0, "new")});
  EXPECT_EQ(RecoverOpen(*stage).has_value(), !shares);
  EXPECT_EQ(stage->Resume(CutId(2, 2)).value().has_value(), !shares);
}

}  // namespace
}  // namespace tandem::replica
