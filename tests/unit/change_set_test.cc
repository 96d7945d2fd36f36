#include "meta/change/change_set.h"

#include <gtest/gtest.h>

#include "meta/capture/frozen_cut.h"

namespace tandem::meta {
namespace {

const ObjectId kA(10, 1), kB(10, 2), kC(10, 3), kNothing;

TEST(ObjectChange, WhatIsAddedIsNotEmpty) {
  ObjectChange change;
  EXPECT_TRUE(change.empty());
  change.attributes |= kStatAttributes;
  EXPECT_FALSE(change.empty());
  change = {};
  change.listing = true;
  EXPECT_FALSE(change.empty());
  change = {};
  change.suspect.Add({0, 1});
  EXPECT_FALSE(change.empty());
}

TEST(ObjectChange, AWholeObjectNeedsEverything) {
  ObjectChange change;
  change.AddData({5, 6});
  change.AddWhole();
  EXPECT_TRUE(change.whole);
  EXPECT_EQ(change.attributes, kAllAttributes);
  EXPECT_TRUE(change.data.Contains(ByteRange::Whole()));
}

TEST(ObjectChange, ANameLeadsWhereItWasLastSetAndRemembersWhatWasFirstReplaced) {
  ObjectChange change;
  change.SetEntry("name", kB, kA);
  change.SetEntry("name", kC, kB);
  EXPECT_EQ(change.entries.at("name").child, kC);
  EXPECT_EQ(change.entries.at("name").replaced, kA);
  change.SetEntry("name", kNothing, kC);
  EXPECT_EQ(change.entries.at("name").child, kNothing);
}

TEST(ObjectChange, MoreRangesThanTheLimitAreCoarsenedButNeverLost) {
  ObjectChange change;
  for (uint64_t i = 0; i < 20'000; ++i) change.AddData({i << 20, (i << 20) + 1});
  EXPECT_LE(change.data.count(), 4096u);
  for (uint64_t i = 0; i < 20'000; ++i) EXPECT_TRUE(change.data.Contains({i << 20, (i << 20) + 1}));
}

TEST(ObjectChange, TheNewerOneWinsWhereTheyContradictEachOther) {
  ObjectChange older, newer;
  older.SetEntry("kept", kA, kNothing);
  older.SetEntry("moved", kA, kB);
  older.AddData({0, 10});
  older.attributes = kStatAttributes;
  newer.handle = FileHandle("handle");
  newer.SetEntry("moved", kC, kA);
  newer.SetEntry("gone", kNothing, kA);
  newer.AddData({20, 30});
  newer.suspect.Add({40, 50});
  newer.attributes = kXattrAttributes;
  older.MergeNewer(newer);
  EXPECT_EQ(older.handle.bytes(), "handle");
  EXPECT_EQ(older.entries.size(), 3u);
  EXPECT_EQ(older.entries.at("kept").child, kA);
  EXPECT_EQ(older.entries.at("moved").child, kC);
  EXPECT_EQ(older.entries.at("moved").replaced, kB);
  EXPECT_EQ(older.entries.at("gone").child, kNothing);
  EXPECT_EQ(older.data.count(), 2u);
  EXPECT_TRUE(older.suspect.Contains({40, 50}));
  EXPECT_EQ(older.attributes, kAllAttributes);
}

TEST(ObjectChange, MergingNeverMakesAChangeSmaller) {
  ObjectChange older;
  older.AddWhole();
  older.listing = true;
  older.MergeNewer({});
  EXPECT_TRUE(older.whole);
  EXPECT_TRUE(older.listing);
  EXPECT_TRUE(older.data.Contains(ByteRange::Whole()));
}

TEST(ChangeSet, MergingTakesOverObjectsThatOnlyTheNewerOneHas) {
  ChangeSet older, newer;
  older[kA].AddData({0, 1});
  newer[kB].SetEntry("x", kC, kNothing);
  MergeNewer(older, newer);
  EXPECT_EQ(older.size(), 2u);
  EXPECT_TRUE(older[kB].entries.contains("x"));
}

// Cooling asks which directories were born in an epoch; merging layers must not hide it.
TEST(ChangeSet, AnObjectBornInTheNewerOneIsStillKnownAsBorn) {
  ChangeSet older, newer;
  newer[kB].AddWhole();
  newer[kB].born = true;
  MergeNewer(older, newer);
  EXPECT_TRUE(older[kB].born);
}

TEST(PendingCounts, CountObjectsRangesNamesAndBytes) {
  PendingCounts counts;
  ObjectChange file, directory, nothing;
  file.AddData({0, 100});
  file.suspect.Add({200, 250});
  directory.SetEntry("a", kA, kNothing);
  directory.SetEntry("b", kB, kNothing);
  directory.listing = true;
  counts.Add(file);
  counts.Add(directory);
  counts.Add(nothing);
  EXPECT_EQ(counts.objects, 2u);
  EXPECT_EQ(counts.ranges, 2u);
  EXPECT_EQ(counts.entries, 3u);
  EXPECT_EQ(counts.bytes, 150u);
}

TEST(PendingCounts, AnOpenEndCountsAsARangeOfUnknownLength) {
  PendingCounts counts;
  ObjectChange change;
  change.AddWhole();
  counts.Add(change);
  EXPECT_EQ(counts.ranges, 1u);
  EXPECT_EQ(counts.bytes, 0u);
}

TEST(Layer, MergingKeepsTheOldestChangesTimeAndTheNewestCut) {
  Layer older, newer;
  older.cut = {{Epoch(4), CutId(1, 1)}, 100};
  older.first_change_ns = 40;
  older.shards[ShardOf(kA)][kA].AddData({0, 1});
  newer.cut = {{Epoch(5), CutId(2, 2)}, 200};
  newer.first_change_ns = 50;
  newer.shards[ShardOf(kA)][kA].AddData({1, 2});
  newer.shards[ShardOf(kB)][kB].AddData({3, 4});
  older.MergeNewer(newer);
  EXPECT_EQ(older.cut.name, newer.cut.name);
  EXPECT_EQ(older.first_change_ns, 40);
  EXPECT_EQ(older.object_count(), 2u);
  EXPECT_TRUE(older.Find(kA)->data.Contains({0, 2}));
  EXPECT_EQ(older.Find(kC), nullptr);
  EXPECT_FALSE(older.empty());
}

}  // namespace
}  // namespace tandem::meta
