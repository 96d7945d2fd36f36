// Cooling, and what a new start finds after a clean end or a kill.
#include <gtest/gtest.h>

#include "tests/unit/tracked_directory.h"

namespace tandem::meta {
namespace {

class RecoveryTest : public testing::Test {
 protected:
  Tracker& tracker() { return directory_.tracker(); }
  std::shared_ptr<FrozenCut> Cut(Epoch after = Epoch()) {
    auto cut = tracker().TakeCut(after);
    EXPECT_TRUE(cut) << cut.error().ToString();
    return *cut;
  }
  // What nobody touches is cold after two windows.
  bool Cools() {
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(tracker().EndWindow(/*all=*/false));
    return tracker().hot_objects() == 0 && directory_.CountHot() == 0;
  }
  ObjectChange Pending(const std::string& name) {
    return tracker().ChangesAfter(Epoch(), directory_.Find(name).id);
  }

  TrackedDirectory directory_;
};

TEST_F(RecoveryTest, CoolingWritesWhatIsPendingAndDeletesTheMark) {
  directory_.CreateFile("file");
  Cut();
  directory_.Write("file", 1000, "12345");
  const Epoch epoch = tracker().open_epoch();
  ASSERT_TRUE(Cools());
  auto dirty = directory_.Inspect().LoadDirty().value();
  const ObjectId file = directory_.Find("file").id;
  ASSERT_TRUE(dirty[epoch].contains(file));
  EXPECT_TRUE(dirty[epoch].at(file).data.Contains({1000, 1005}));
  EXPECT_TRUE(dirty[epoch].at(file).attributes & kStatAttributes);
}

TEST_F(RecoveryTest, MoreThanOneTransactionHoldsCools) {
  // All in one shard. Nobody looks for them in SOURCE.
  constexpr size_t kObjects = 2000;
  const Epoch epoch = tracker().open_epoch();
  for (size_t i = 0; i < kObjects; ++i) {
    const ObjectRef object{ObjectId(i + 1, kShards), FileHandle("handle")};
    Operation operation = directory_.Begin(Intent().Attributes(object));
    operation.ChangedAttributes(object, kStatAttributes);
  }
  ASSERT_TRUE(Cools());
  EXPECT_EQ(directory_.Inspect().LoadDirty().value()[epoch].size(), kObjects);
}

TEST_F(RecoveryTest, CoolingWritesNothingOfWhatEveryReplicaHas) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, "content");
  ASSERT_TRUE(tracker().DropThrough(Cut()->cut().name.epoch));
  ASSERT_TRUE(Cools());
  EXPECT_TRUE(directory_.Inspect().LoadDirty().value().empty());
}

TEST_F(RecoveryTest, AnObjectBornInADirectoryThatCoolsIsWholeAfterAKill) {
  directory_.CreateFile("file");
  directory_.MakeDirectory("directory");
  directory_.CreateFile("directory/below");
  ASSERT_TRUE(Cools());
  // Unmarked, for this is still the epoch of their birth.
  directory_.Write("file", 0, "content");
  directory_.CreateFile("directory/later");
  EXPECT_EQ(directory_.CountHot(), 0u);
  directory_.Crash();
  directory_.Start();
  EXPECT_TRUE(Pending("").entries.contains("file"));
  EXPECT_TRUE(Pending("file").whole);
  EXPECT_TRUE(Pending("directory").whole);
  EXPECT_TRUE(Pending("directory").listing);
}

TEST_F(RecoveryTest, HotRegionsAreSuspectAfterAKill) {
  directory_.CreateFile("file");
  const CutName cut = Cut()->cut().name;
  ASSERT_TRUE(tracker().DropThrough(cut.epoch));
  directory_.Write("file", 5 << 20, "x");
  directory_.Crash();
  directory_.Start();
  EXPECT_TRUE(tracker().Knows(cut));
  const ObjectChange change = tracker().ChangesAfter(cut.epoch, directory_.Find("file").id);
  EXPECT_TRUE(change.suspect.Contains({4 << 20, 8 << 20}));
  EXPECT_FALSE(change.suspect.Contains({0, 1}));
  EXPECT_EQ(change.attributes, kAllAttributes);
  EXPECT_TRUE(tracker().ChangesAfter(cut.epoch, kRootObject).listing);
  // And once more: nothing is lost by dying again.
  directory_.Crash();
  directory_.Start();
  EXPECT_TRUE(Pending("file").suspect.Contains({4 << 20, 8 << 20}));
  EXPECT_TRUE(Pending("").listing);
}

TEST_F(RecoveryTest, NamesLeadToWhatTheyLeadToNow) {
  directory_.CreateFile("kept");
  directory_.CreateFile("removed");
  const ObjectId kept = directory_.Find("kept").id;
  directory_.Remove("removed");
  directory_.Stop();
  directory_.Start();
  const ObjectChange root = Pending("");
  ASSERT_TRUE(root.entries.contains("kept"));
  ASSERT_TRUE(root.entries.contains("removed"));
  EXPECT_EQ(root.entries.at("kept").child, kept);
  EXPECT_TRUE(root.entries.at("removed").child.is_null());
}

TEST_F(RecoveryTest, ACleanEndLeavesNothingToCompare) {
  directory_.CreateFile("file");
  Cut();
  directory_.CreateFile("another");
  const CutName cut = Cut()->cut().name;
  ASSERT_TRUE(tracker().DropThrough(cut.epoch));
  directory_.Write("file", 0, "1");
  directory_.Stop();
  EXPECT_EQ(directory_.CountHot(), 0u);
  directory_.Start();
  const ObjectChange change = tracker().ChangesAfter(cut.epoch, directory_.Find("file").id);
  EXPECT_TRUE(change.suspect.empty());
  EXPECT_EQ(change.data.ToVector(), (std::vector<ByteRange>{{0, 1}}));
}

// The replica is at the last cut; then a change, and an unmount before it was shipped.
TEST_F(RecoveryTest, WhatWasPendingAtACleanEndIsInANewCutAfterwards) {
  directory_.CreateFile("file");
  const CutName cut = Cut()->cut().name;
  ASSERT_TRUE(tracker().DropThrough(cut.epoch));
  directory_.Write("file", 0, "1");
  directory_.Stop();
  directory_.Start();
  ASSERT_TRUE(tracker().Knows(cut));
  EXPECT_GT(tracker().NewestChange(), cut.epoch);
  const auto next = Cut(cut.epoch);
  EXPECT_NE(next->changes().Find(directory_.Find("file").id), nullptr);
  // A change set under the name of the cut it starts from can never arrive.
  EXPECT_GT(next->cut().name.epoch, cut.epoch);
  EXPECT_GE(next->cut().name.epoch, tracker().NewestChange());
}

TEST_F(RecoveryTest, WhatWasCooledIsInANewCutAfterAKill) {
  directory_.CreateFile("file");
  const CutName cut = Cut()->cut().name;
  directory_.Write("file", 0, "1");
  ASSERT_TRUE(Cools());
  directory_.Crash();
  directory_.Start();
  EXPECT_GT(Cut(cut.epoch)->cut().name.epoch, cut.epoch);
}

TEST_F(RecoveryTest, EpochNumbersGoOnWhereTheyEnded) {
  for (const bool clean : {true, false, true, false}) {
    directory_.CreateFile("file");
    const CutName cut = Cut()->cut().name;
    directory_.Remove("file");
    clean ? directory_.Stop() : directory_.Crash();
    directory_.Start();
    EXPECT_TRUE(tracker().Knows(cut));
    EXPECT_GT(tracker().open_epoch(), cut.epoch);
    const std::vector<CutRecord> cuts = directory_.Inspect().LoadCuts().value();
    for (const CutRecord& known : cuts) {
      EXPECT_LT(known.name.epoch, tracker().open_epoch());
    }
  }
}

// Rows of one object's pending changes are written again whenever it cools. With a replica away
// that must not come to writing a directory's whole backlog for one more name.
TEST_F(RecoveryTest, ADirectoryWithALongBacklogIsWrittenDownAsWhollyChanged) {
  constexpr uint64_t kNames = 30'000;
  Cut();
  // As a program would make them, but without the files.
  for (uint64_t i = 0; i < kNames; ++i) {
    Operation operation = directory_.Begin(Intent().Entries(directory_.tree().root()));
    const ObjectRef child{ObjectId(99, i), FileHandle("handle of a file")};
    operation.SetEntry(directory_.tree().root(), "name" + std::to_string(i), child.id, ObjectId());
    operation.Born(child);
  }
  const Epoch epoch = tracker().open_epoch();
  ASSERT_TRUE(Cools());
  const auto dirty = directory_.Inspect().LoadDirty().value();
  ASSERT_TRUE(dirty.contains(epoch));
  EXPECT_EQ(dirty.at(epoch).size(), 1u);
  const ObjectChange& root = dirty.at(epoch).at(kRootObject);
  EXPECT_TRUE(root.listing);
  EXPECT_TRUE(root.entries.empty());
}

}  // namespace
}  // namespace tandem::meta
