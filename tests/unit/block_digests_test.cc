#include "replica/apply/block_digests.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <string>

#include "replica/apply/catalog.h"
#include "replica/apply/content_digests.h"
#include "replica/apply/file_data.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kBlock = BlockDigests::kBlock;
constexpr uint64_t kRun = BlockDigests::kRunBlocks;
const ObjectId kFile(1, 2);
const ObjectId kOther(3, 4);

std::string BytesOf(std::mt19937& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

class DigestTable : public testing::Test {
 protected:
  BlockDigests& table() { return catalog_->digests(); }
  BlockDigests::Digest At(uint64_t block) { return table().Find(kFile, block).value(); }

  const ScratchDirectory scratch_;
  const std::unique_ptr<Catalog> catalog_ = Catalog::Open(scratch_.path() + "/replica.db").value();
  Savepoint part_ = catalog_->Begin().value();
};

TEST_F(DigestTable, BlocksThatNoRowHasAreZeros) {
  EXPECT_EQ(At(0), BlockDigests::kZeros);
  ASSERT_TRUE(table().Set(kFile, 100 * kRun + 3, 77));
  EXPECT_EQ(At(100 * kRun + 2), BlockDigests::kZeros);
  EXPECT_EQ(At(100 * kRun + 3), 77u);
  EXPECT_EQ(table().NextRun(kFile, 0).value(), 100u);
  EXPECT_FALSE(table().NextRun(kFile, 101).value().has_value());
}

TEST_F(DigestTable, AnUnknownFileIsUnknownExceptForWhatIsSet) {
  ASSERT_TRUE(table().Set(kFile, 1, 77));
  ASSERT_TRUE(table().MakeUnknown(kFile));
  EXPECT_EQ(At(1), BlockDigests::kUnknown);
  ASSERT_TRUE(table().Set(kFile, 5, 78));
  ASSERT_TRUE(table().SetRange(kFile, kRun - 1, 2 * kRun + 1, BlockDigests::kZeros));
  EXPECT_EQ(At(4), BlockDigests::kUnknown);
  EXPECT_EQ(At(5), 78u);
  for (const uint64_t block : {kRun - 1, kRun, 2 * kRun - 1, 2 * kRun}) {
    EXPECT_EQ(At(block), BlockDigests::kZeros) << block;
  }
  EXPECT_EQ(At(2 * kRun + 1), BlockDigests::kUnknown);
  ASSERT_TRUE(table().Clear(kFile));
  EXPECT_EQ(At(4), BlockDigests::kZeros);
}

TEST_F(DigestTable, RangesAndCutsTouchNothingElse) {
  for (uint64_t block = 0; block < 4 * kRun; ++block) {
    ASSERT_TRUE(table().Set(kFile, block, 1000 + block));
    ASSERT_TRUE(table().Set(kOther, block, 5));
  }
  ASSERT_TRUE(table().SetRange(kFile, 10, 2 * kRun + 10, BlockDigests::kUnknown));
  EXPECT_EQ(At(9), 1009u);
  EXPECT_EQ(At(10), BlockDigests::kUnknown);
  EXPECT_EQ(At(kRun), BlockDigests::kUnknown);
  EXPECT_EQ(At(2 * kRun + 9), BlockDigests::kUnknown);
  EXPECT_EQ(At(2 * kRun + 10), 1000 + 2 * kRun + 10);
  ASSERT_TRUE(table().CutAt(kFile, 3 * kRun + 1));
  EXPECT_EQ(At(3 * kRun), 1000 + 3 * kRun);
  EXPECT_EQ(At(3 * kRun + 1), BlockDigests::kZeros);
  ASSERT_TRUE(table().CutAt(kFile, kRun));
  EXPECT_EQ(At(9), 1009u);
  EXPECT_FALSE(table().NextRun(kFile, 1).value().has_value());
  EXPECT_EQ(table().Find(kOther, 4 * kRun - 1).value(), 5u);
}

TEST_F(DigestTable, AHoleOfAnySizeCostsNothing) {
  const uint64_t end = BlockDigests::CountIn(uint64_t{1} << 62);
  ASSERT_TRUE(table().Set(kFile, 7 * kRun, 77));
  ASSERT_TRUE(table().SetRange(kFile, 1, end, BlockDigests::kZeros));
  EXPECT_FALSE(table().NextRun(kFile, 0).value().has_value());
  ASSERT_TRUE(table().MakeUnknown(kFile));
  ASSERT_TRUE(table().SetRange(kFile, 1, end, BlockDigests::kZeros));
  EXPECT_EQ(At(end / 2), BlockDigests::kUnknown) << "rather than a row for each run";
  ASSERT_TRUE(table().Clear(kFile));
  ASSERT_TRUE(table().SetRange(kFile, 1, end, BlockDigests::kUnknown));
  EXPECT_EQ(At(end / 2), BlockDigests::kUnknown);
}

TEST_F(DigestTable, OfAnObjectGoWithIt) {
  ASSERT_TRUE(table().Set(kFile, 3, 77));
  ASSERT_TRUE(catalog_->Remove(kFile));
  ASSERT_TRUE(table().Flush());
  EXPECT_EQ(At(3), BlockDigests::kZeros);
}

// A file, and what a redo would tell of its changes.
class FollowedFile : public DigestTable {
 protected:
  FollowedFile() {
    path_ = scratch_.path() + "/file";
    fd_ = UniqueFd(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_TRUE(digests_.Begin(kFile));
  }
  uint64_t Size() const {
    struct stat now = {};
    fstat(fd_.get(), &now);
    return static_cast<uint64_t>(now.st_size);
  }
  void Write(uint64_t offset, const std::string& bytes) {
    ASSERT_TRUE(digests_.Write(kFile, offset, bytes, opener_));
    ASSERT_TRUE(WriteFully(fd_.get(), bytes, offset));
  }
  void Punch(uint64_t offset, uint64_t length) {
    ASSERT_TRUE(digests_.PunchHole(kFile, offset, length, opener_));
    ASSERT_TRUE(PunchHole(fd_.get(), offset, length));
  }
  void Resize(uint64_t size) {
    ASSERT_TRUE(digests_.Resize(kFile, size, opener_));
    ASSERT_EQ(ftruncate(fd_.get(), static_cast<off_t>(size)), 0);
  }
  // As if the cut had been applied, and another one followed.
  void EndCut() {
    ASSERT_TRUE(digests_.End(kFile));
    CatalogObject row;
    row.attributes.kind = meta::Kind::kFile;
    row.attributes.size = Size();
    ASSERT_TRUE(catalog_->Put(kFile, row, Epoch(1)));
    ASSERT_TRUE(table().Flush());
  }
  // Writes, holes and changes of the size, often at the edges of blocks.
  void ChangeSomehow() {
    constexpr uint64_t kMost = 5 * kBlock;
    const auto somewhere = [&] {
      const uint64_t near = random_() % 6 * kBlock;
      return random_() % 3 == 0 ? near : std::min(near + random_() % kBlock, kMost);
    };
    const uint64_t start = somewhere();
    const uint64_t length = random_() % 2 == 0 ? random_() % 9000 : random_() % (2 * kBlock);
    switch (random_() % 5) {
      case 0:
        return Resize(start);
      case 1:
        return length == 0 ? void() : Punch(start, length);
      default:
        return length == 0 ? void() : Write(start, BytesOf(random_, length));
    }
  }
  // Every block matches its digest, or has none; returns how many have none.
  uint64_t CountUnknown() {
    const uint64_t count = BlockDigests::CountIn(Size());
    uint64_t unknown = 0;
    for (uint64_t block = 0; block < count; ++block) {
      const std::string content = ReadUpTo(fd_.get(), block * kBlock, kBlock).value();
      const auto digest = At(block);
      unknown += digest == BlockDigests::kUnknown ? 1 : 0;
      EXPECT_TRUE(digest == BlockDigests::kUnknown || BlockDigests::Matches(digest, content))
          << "block " << block << " of " << count;
    }
    EXPECT_EQ(At(count), BlockDigests::kZeros) << "beyond the end";
    return unknown;
  }

  std::mt19937 random_{4711};
  std::string path_;
  UniqueFd fd_;
  ContentDigests digests_{*catalog_};
  const ContentDigests::Opener opener_ = [this]() -> Result<int> { return fd_.get(); };
};

TEST_F(FollowedFile, HasTheDigestsOfItsContentAfterAnyChanges) {
  for (int cut = 0; cut < 300; ++cut) {
    SCOPED_TRACE(cut);
    for (auto changes = random_() % 6; changes > 0; --changes) {
      ASSERT_NO_FATAL_FAILURE(ChangeSomehow());
    }
    ASSERT_NO_FATAL_FAILURE(EndCut());
    ASSERT_EQ(CountUnknown(), 0u);
    if (HasFailure()) return;
  }
}

TEST_F(FollowedFile, IsUnknownWhereARepeatedRedoFindsItsOwnWritesNeverWrong) {
  for (int cut = 0; cut < 200; ++cut) {
    SCOPED_TRACE(cut);
    Resize(0);
    Write(0, BytesOf(random_, 4 * kBlock + 1000));
    ASSERT_NO_FATAL_FAILURE(EndCut());
    ASSERT_EQ(CountUnknown(), 0u);
    // The redo that was interrupted had made some of these changes; the catalog knows of none.
    auto attempt = catalog_->Begin().value();
    const std::mt19937 before = random_;
    for (auto made = random_() % 4; made > 0; --made) ChangeSomehow();
    ASSERT_TRUE(digests_.End(kFile));
    random_ = before;
    (void)random_();
    ASSERT_TRUE(table().Flush());
    { const auto undone = std::move(attempt); }
    table().Drop();
    for (int change = 0; change < 4; ++change) ChangeSomehow();
    ASSERT_NO_FATAL_FAILURE(EndCut());
    CountUnknown();
    if (HasFailure()) return;
    ASSERT_TRUE(digests_.Begin(kFile));
    ASSERT_EQ(ftruncate(fd_.get(), 0), 0);
  }
}

TEST_F(FollowedFile, AWriteIntoADamagedBlockLeavesItUnknown) {
  Write(0, BytesOf(random_, 3 * kBlock));
  EndCut();
  ASSERT_TRUE(WriteFully(fd_.get(), "rot", kBlock + 500));
  Write(kBlock + 9000, "new");
  EndCut();
  EXPECT_EQ(At(1), BlockDigests::kUnknown);
  EXPECT_NE(At(0), BlockDigests::kUnknown);
  // In two parts, which cover all of it.
  Write(kBlock, BytesOf(random_, 5000));
  Write(kBlock + 5000, BytesOf(random_, kBlock - 5000));
  EndCut();
  EXPECT_EQ(CountUnknown(), 0u);
}

TEST_F(FollowedFile, ADamagedHoleIsNotBlessed) {
  Resize(2 * kBlock);
  EndCut();
  ASSERT_TRUE(WriteFully(fd_.get(), "rot", 500));
  Write(9000, "new");
  EndCut();
  const std::string content = ReadUpTo(fd_.get(), 0, kBlock).value();
  EXPECT_FALSE(BlockDigests::Matches(At(0), content));
}

TEST_F(FollowedFile, ContentInAFileOfItsOwnHasTheDigestsItCameWith) {
  for (int round = 0; round < 50; ++round) {
    SCOPED_TRACE(round);
    ASSERT_TRUE(digests_.Begin(kFile));
    ASSERT_EQ(ftruncate(fd_.get(), 0), 0);
    std::vector<DataRecord> records;
    uint64_t at = 0;
    for (int piece = 0; piece < 6; ++piece) {
      DataRecord record;
      record.object = kFile;
      record.encoding = Encoding::kStaged;
      record.offset = at;
      record.length = 1 + random_() % (3 * kBlock);
      if (piece % 3 == 2) {
        record.checksum = ContentDigests::kStagedHole;
      } else {
        const std::string bytes = BytesOf(random_, record.length);
        record.bytes = ContentDigests::StagedDigests(at, bytes);
        ASSERT_TRUE(WriteFully(fd_.get(), bytes, at));
      }
      at += record.length;
      records.push_back(std::move(record));
    }
    ASSERT_EQ(ftruncate(fd_.get(), static_cast<off_t>(at)), 0);
    for (const DataRecord& record : records) {
      ASSERT_TRUE(digests_.TakeStaged(record, record.length, -1, opener_));
    }
    ASSERT_TRUE(digests_.Resize(kFile, at, opener_));
    EndCut();
    EXPECT_EQ(CountUnknown(), 0u);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace tandem::replica
