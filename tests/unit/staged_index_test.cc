#include "replica/apply/staged_index.h"

#include <gtest/gtest.h>

#include <functional>

#include "replica/wire/record_digest.h"

namespace tandem::replica {
namespace {

const ObjectId kOne(1, 1), kTwo(2, 2);

ObjectRecord RecordOf(ObjectId object, int64_t ctime) {
  ObjectRecord record{object, true, true, {}};
  record.attributes.kind = meta::Kind::kFile;
  record.attributes.change_time = {ctime, 5};
  return record;
}

DataRecord ContentOf(ObjectId object, ByteRange range) {
  DataRecord record;
  record.object = object;
  record.offset = range.start;
  record.length = range.length();
  record.bytes = std::string(record.length, 'x');
  return record;
}

StagedIndex IndexOf(const std::vector<std::vector<Record>>& chunks) {
  std::vector<Outline> outlines;
  outlines.reserve(chunks.size());
  for (const auto& records : chunks) outlines.push_back(OutlineOf(records));
  std::vector<const Outline*> pointers;
  for (const Outline& outline : outlines) pointers.push_back(&outline);
  return StagedIndex(pointers);
}

using Ranges = std::vector<ByteRange>;

TEST(StagedIndex, ContentCountsFromTheLastRecordOn) {
  const StagedIndex index = IndexOf({{RecordOf(kOne, 1), ContentOf(kOne, {0, 10})},
                                     {ContentOf(kOne, {10, 20}), RecordOf(kTwo, 1)},
                                     {ContentOf(kTwo, {0, 5}), RecordOf(kOne, 2)},
                                     {ContentOf(kOne, {30, 40}), ContentOf(kOne, {40, 41})},
                                     {ContentOf(kOne, {100, 101})}});
  const StagedObject one = index.Find(kOne, 10);
  EXPECT_TRUE(one.known);
  EXPECT_EQ(one.record, DigestOf(RecordOf(kOne, 2)));
  EXPECT_EQ(one.ranges, (Ranges{{30, 41}, {100, 101}}));
  EXPECT_EQ(index.Find(kOne, 1).ranges, (Ranges{{30, 41}}));
  EXPECT_EQ(index.Find(kTwo, 10).ranges, (Ranges{{0, 5}}));
}

TEST(StagedIndex, ContentWithoutARecordIsNoState) {
  const StagedIndex index = IndexOf({{ContentOf(kOne, {0, 10})}});
  EXPECT_TRUE(index.Find(kOne, 10).known);
  EXPECT_TRUE(index.Find(kOne, 10).ranges.empty());
  EXPECT_FALSE(index.Find(kTwo, 10).known);
  EXPECT_FALSE(StagedIndex().Find(kOne, 10).known);
}

TEST(RecordDigest, TellsEveryFieldButTheTimeOfAccess) {
  const ObjectRecord record = RecordOf(kOne, 1);
  const auto differs = [&record](const std::function<void(ObjectRecord&)>& change) {
    ObjectRecord changed = record;
    change(changed);
    return DigestOf(changed) != DigestOf(record);
  };
  EXPECT_FALSE(differs([](ObjectRecord& it) { it.attributes.access_time = {7, 7}; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.object = kTwo; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.whole = false; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.with_xattrs = false; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.kind = meta::Kind::kFifo; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.permissions = 1; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.uid = 1; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.gid = 1; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.size = 1; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.device = 1; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.link_count = 9; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.modify_time.nanoseconds = 1; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.change_time.nanoseconds = 1; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.link_target = "x"; }));
  EXPECT_TRUE(differs([](ObjectRecord& it) { it.attributes.xattrs = {{"a", "bc"}}; }));
  ObjectRecord ab = record;
  ab.attributes.xattrs = {{"a", "bc"}};
  ObjectRecord a = record;
  a.attributes.xattrs = {{"ab", "c"}};
  EXPECT_NE(DigestOf(ab), DigestOf(a));
}

}  // namespace
}  // namespace tandem::replica
