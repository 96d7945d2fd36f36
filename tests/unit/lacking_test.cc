#include "replica/source/lacking.h"

#include <gmock/gmock.h>

namespace tandem::replica {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const ObjectId kFile(1, 2);
constexpr uint64_t kBlock = 4096;

meta::ObjectChange Data(uint64_t block, uint64_t blocks = 1) {
  meta::ObjectChange change;
  change.data.Add(ByteRange::Of(block * kBlock, blocks * kBlock));
  return change;
}

class LackingTest : public ::testing::Test {
 protected:
  LackingTest() { lacking_.NoteUnreadable(kFile, Data(3), "block 3"); }

  void Stage(const meta::ObjectChange& change) {
    meta::Layer layer;
    layer.shards[meta::ShardOf(kFile)][kFile] = change;
    lacking_.Stage(layer);
  }
  Lacking lacking_;
};

TEST_F(LackingTest, ACutThatBringsItHealsWhoeverChangedIt) {
  lacking_.BeginStage();
  Stage(Data(0, 10));
  EXPECT_FALSE(lacking_.empty());  // it is not applied yet
  EXPECT_THAT(lacking_.StageApplied(), ElementsAre(kFile));
  EXPECT_TRUE(lacking_.empty());
}

TEST_F(LackingTest, ACutOfSomethingElseDoesNot) {
  lacking_.BeginStage();
  Stage(Data(4));
  EXPECT_THAT(lacking_.StageApplied(), IsEmpty());
  EXPECT_FALSE(lacking_.empty());
}

TEST_F(LackingTest, SeveralCutsMayBringItInParts) {
  lacking_.NoteUnreadable(kFile, Data(7), "block 7");
  lacking_.BeginStage();
  Stage(Data(3));
  EXPECT_THAT(lacking_.StageApplied(), IsEmpty());
  lacking_.BeginStage();
  Stage(Data(7));
  EXPECT_THAT(lacking_.StageApplied(), ElementsAre(kFile));
}

TEST_F(LackingTest, AStageThatWasNotAppliedDoesNotCount) {
  lacking_.BeginStage();
  Stage(Data(3));
  lacking_.BeginStage();
  EXPECT_THAT(lacking_.StageApplied(), IsEmpty());
}

TEST_F(LackingTest, WhatIsUnreadableAgainGoesOnLacking) {
  lacking_.BeginStage();
  Stage(Data(2, 4));
  lacking_.NoteUnreadable(kFile, Data(3), "still");
  EXPECT_THAT(lacking_.StageApplied(), IsEmpty());
  ASSERT_TRUE(lacking_.Summarize());
  EXPECT_EQ(lacking_.Summarize()->text, "still");
}

TEST_F(LackingTest, AWalkBringsAllButWhatItCannotRead) {
  lacking_.BeginStage();
  lacking_.StageAll();
  EXPECT_THAT(lacking_.StageApplied(), ElementsAre(kFile));
  lacking_.NoteUnreadable(kFile, Data(3), "block 3");
  lacking_.BeginStage();
  lacking_.StageAll();
  lacking_.NoteUnreadable(kFile, Data(3), "block 3");
  EXPECT_THAT(lacking_.StageApplied(), IsEmpty());
}

// As when the block of its extended attributes cannot be read, and it is written to.
TEST_F(LackingTest, TimesDoNotBringExtendedAttributes) {
  Lacking lacking;
  meta::ObjectChange all;
  all.attributes = meta::kAllAttributes;
  lacking.NoteUnreadable(kFile, all, "attributes");
  meta::Layer layer;
  layer.shards[meta::ShardOf(kFile)][kFile].attributes = meta::kStatAttributes;
  lacking.BeginStage();
  lacking.Stage(layer);
  EXPECT_THAT(lacking.StageApplied(), IsEmpty());
  layer.shards[meta::ShardOf(kFile)][kFile].attributes = meta::kXattrAttributes;
  lacking.Stage(layer);
  EXPECT_THAT(lacking.StageApplied(), ElementsAre(kFile));
}

TEST_F(LackingTest, AnUnreadableObjectIsBroughtByItsAttributesContentAndNames) {
  meta::ObjectChange everything;
  everything.AddWhole();
  everything.listing = true;
  lacking_.NoteUnreadable(kFile, everything, "all");
  // As DeferredChanges::RetryDue records it.
  lacking_.BeginStage();
  meta::ObjectChange attributes;
  attributes.attributes = meta::kAllAttributes;
  Stage(attributes);
  meta::ObjectChange listing;
  listing.listing = true;
  Stage(listing);
  EXPECT_THAT(lacking_.StageApplied(), IsEmpty());
  lacking_.BeginStage();
  meta::ObjectChange content;
  content.data.Add(ByteRange::Whole());
  Stage(content);
  EXPECT_THAT(lacking_.StageApplied(), ElementsAre(kFile));
}

}  // namespace
}  // namespace tandem::replica
