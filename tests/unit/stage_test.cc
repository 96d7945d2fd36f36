#include "replica/apply/stage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "replica/wire/chunk_payload.h"
#include "replica/wire/little_endian.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

const VolumeId kVolume(1, 2);
const CutName kBase{Epoch(3), CutId(4, 5)};
const CutName kCut{Epoch(6), CutId(7, 8)};

class StageFile : public testing::Test {
 protected:
  StageFile() : fd_(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY)) {}

  static std::vector<Record> RecordsOf(uint64_t sequence) {
    return {EntryRecord{kRootObject, "name" + std::to_string(sequence), ObjectId(9, sequence + 1)}};
  }
  static ResolvedChunk ChunkOf(uint64_t sequence) {
    return {sequence, 0, 1000 + sequence, EncodeRecords(RecordsOf(sequence))};
  }
  static uint64_t DigestOf(uint64_t count) {
    Packer packer;
    for (uint64_t sequence = 0; sequence < count; ++sequence) packer.Number(1000 + sequence);
    return ChecksumOf(packer.bytes());
  }
  std::shared_ptr<Stage> Make(const std::vector<uint64_t>& order) {
    auto stage = Stage::Create(fd_.get(), kVolume, CutId(1, order.size()), kBase).value();
    for (const uint64_t sequence : order) {
      EXPECT_TRUE(stage->Append(ChunkOf(sequence), OutlineOf(RecordsOf(sequence))));
    }
    return stage;
  }
  Result<std::shared_ptr<Stage>> Recover(const Stage& stage) {
    return Stage::Recover(fd_.get(), stage.name(), kVolume);
  }
  std::string PathOf(const Stage& stage) { return scratch_.path() + "/" + stage.name(); }

  ScratchDirectory scratch_;
  UniqueFd fd_;
};

TEST_F(StageFile, CommittedStageIsReadBackInOrder) {
  const auto stage = Make({2, 0, 3, 1, 1, 0});
  ASSERT_TRUE(stage->CheckComplete(4, DigestOf(4)));
  ASSERT_TRUE(stage->Commit({kCut, -5, 4, DigestOf(4)}));
  const auto recovered = Recover(*stage);
  ASSERT_TRUE(recovered) << recovered.error().ToString();
  EXPECT_EQ((*recovered)->id(), stage->id());
  EXPECT_EQ((*recovered)->base(), kBase);
  EXPECT_EQ((*recovered)->commit_record().cut, kCut);
  EXPECT_EQ((*recovered)->commit_record().wall_time_ns, -5);
  const auto outlines = (*recovered)->Outlines();
  ASSERT_EQ(outlines.size(), 4u);
  for (uint64_t sequence = 0; sequence < 4; ++sequence) {
    EXPECT_EQ(outlines[sequence]->entries[0].key.name, "name" + std::to_string(sequence));
    EXPECT_EQ((*recovered)->Read(sequence)->size(), 1u);
  }
}

TEST_F(StageFile, GapsAndWrongDigestsAreNotComplete) {
  const auto stage = Make({0, 2});
  EXPECT_FALSE(stage->CheckComplete(2, DigestOf(2)));
  EXPECT_FALSE(stage->CheckComplete(3, DigestOf(3)));
  ASSERT_TRUE(stage->Append(ChunkOf(1), OutlineOf(RecordsOf(1))));
  EXPECT_FALSE(stage->CheckComplete(2, DigestOf(2)));
  EXPECT_FALSE(stage->CheckComplete(3, DigestOf(3) + 1));
  EXPECT_TRUE(stage->CheckComplete(3, DigestOf(3)));
}

// One that comes late must not be sealed in without being counted: it would not be read back.
TEST_F(StageFile, AChunkThatWasNotCountedIsNotCommitted) {
  const auto stage = Make({0});
  ASSERT_TRUE(stage->CheckComplete(1, DigestOf(1)));
  ASSERT_TRUE(stage->Append(ChunkOf(1), OutlineOf(RecordsOf(1))));
  const auto committed = stage->Commit({kCut, 0, 1, DigestOf(1)});
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.error().kind(), ErrorKind::kProtocol);
  ASSERT_TRUE(stage->Commit({kCut, 0, 2, DigestOf(2)}));
  EXPECT_TRUE(Recover(*stage));
}

TEST_F(StageFile, WithoutACommitRecordItNeverHappened) {
  const auto stage = Make({0, 1});
  const auto recovered = Recover(*stage);
  ASSERT_FALSE(recovered);
  EXPECT_EQ(recovered.error().kind(), ErrorKind::kCorrupt);
}

TEST_F(StageFile, CutOffAnywhereItNeverHappened) {
  const auto stage = Make({0, 1});
  ASSERT_TRUE(stage->Commit({kCut, 0, 2, DigestOf(2)}));
  for (auto size = static_cast<off_t>(stage->file_bytes()) - 1; size >= 0; --size) {
    ASSERT_EQ(truncate(PathOf(*stage).c_str(), size), 0);
    const auto recovered = Recover(*stage);
    ASSERT_FALSE(recovered) << size;
    ASSERT_EQ(recovered.error().kind(), ErrorKind::kCorrupt);
  }
}

TEST_F(StageFile, AnyFlippedByteIsFound) {
  const auto stage = Make({0, 1});
  ASSERT_TRUE(stage->Commit({kCut, 0, 2, DigestOf(2)}));
  for (uint64_t at = 0; at < stage->file_bytes(); ++at) {
    std::fstream file(PathOf(*stage), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    const auto put = [&](int value) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(value));
      file.flush();
    };
    put(byte ^ 0x10);
    ASSERT_FALSE(Recover(*stage)) << at;
    put(byte);
  }
  EXPECT_TRUE(Recover(*stage));
}

TEST_F(StageFile, CutsThatCannotBeAreNotBelieved) {
  const CutName high{kNewestEpoch.Next(), CutId(1, 1)};
  const auto to_there = Make({0});
  ASSERT_TRUE(to_there->Commit({high, 0, 1, DigestOf(1)}));
  EXPECT_FALSE(Recover(*to_there));
  const auto from_there = Stage::Create(fd_.get(), kVolume, CutId(1, 7), high).value();
  ASSERT_TRUE(from_there->Commit({kCut, 0, 0, DigestOf(0)}));
  EXPECT_FALSE(Recover(*from_there));
}

TEST_F(StageFile, OfAnotherVolumeIsRefused) {
  const auto stage = Make({0});
  ASSERT_TRUE(stage->Commit({kCut, 0, 1, DigestOf(1)}));
  EXPECT_FALSE(Stage::Recover(fd_.get(), stage->name(), VolumeId(9, 9)));
}

}  // namespace
}  // namespace tandem::replica
