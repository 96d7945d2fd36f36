#include "replica/known/chunk_index.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

using Row = ChunkIndex::Row;
const ObjectId kObject(1, 2);

TEST(ChunkIndex, FindsWhatWasNotedLast) {
  ScratchDirectory scratch;
  {
    const auto index = ChunkIndex::Open(scratch.path(), 1000).value();
    const Row rows[] = {{7, kObject, 10, 20}, {~uint64_t{0}, kObject, 30, 40}};
    ASSERT_TRUE(index->Put(rows));
    const Row newer[] = {{7, ObjectId(3, 4), 50, 60}};
    ASSERT_TRUE(index->Put(newer));
  }
  const auto index = ChunkIndex::Open(scratch.path(), 1000).value();
  const auto found = index->Find(7).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->object, ObjectId(3, 4));
  EXPECT_EQ(found->offset, 50u);
  EXPECT_EQ(found->length, 60u);
  EXPECT_TRUE(index->Find(~uint64_t{0}).value());
  EXPECT_FALSE(index->Find(8).value());
  ASSERT_TRUE(index->Forget(7));
  EXPECT_FALSE(index->Find(7).value());
}

TEST(ChunkIndex, KeepsNoMoreThanItMay) {
  ScratchDirectory scratch;
  const auto index = ChunkIndex::Open(scratch.path(), 1000).value();
  for (uint64_t batch = 0; batch < 20; ++batch) {
    std::vector<Row> rows;
    // Spread like digests.
    for (uint64_t i = 0; i < 400; ++i) {
      rows.push_back({(batch * 400 + i + 1) * 0x9e3779b97f4a7c15, kObject, i, 1});
    }
    ASSERT_TRUE(index->Put(rows));
    const uint64_t count = index->Count().value();
    EXPECT_LE(count, 1000u);
    EXPECT_GE(count, std::min<uint64_t>((batch + 1) * 400, 700));
  }
}

TEST(ChunkIndex, IsMadeAnewIfItCannotBeRead) {
  ScratchDirectory scratch;
  std::ofstream(scratch.path() + "/" + ChunkIndex::kFileName) << std::string(100'000, 'x');
  const auto index = ChunkIndex::Open(scratch.path(), 1000);
  ASSERT_TRUE(index) << index.error().ToString();
  const Row row[] = {{7, kObject, 10, 20}};
  EXPECT_TRUE((*index)->Put(row));
  EXPECT_TRUE((*index)->Find(7).value());
}

}  // namespace
}  // namespace tandem::replica
