#include "meta/capture/hot_object.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/files.h"

namespace tandem::meta {
namespace {

using test::kMiB;

bool Has(const std::vector<HotRegion>& regions, HotRegion region) {
  return std::any_of(regions.begin(), regions.end(),
                     [&region](const HotRegion& one) { return one.code() == region.code(); });
}

// What an operation does from beginning to end.
void Operate(HotObject& object, ByteRange range) {
  const uint8_t pin = object.Pin();
  for (const HotRegion region : object.TouchData(range)) object.Marked(region);
  object.Unpin(pin);
}

TEST(HotRegion, ItsCodeSaysWhichBytes) {
  EXPECT_EQ(HotRegion::Data(22, 0).range(), (ByteRange{0, 4 * kMiB}));
  EXPECT_EQ(HotRegion::Data(22, 5).range(), (ByteRange{20 * kMiB, 24 * kMiB}));
  EXPECT_EQ(HotRegion::Data(23, 5).range(), (ByteRange{40 * kMiB, 48 * kMiB}));
  EXPECT_EQ(HotRegion::FromCode(HotRegion::Data(30, 17).code()).range(),
            HotRegion::Data(30, 17).range());
}

TEST(HotRegion, TheLastOneGoesOnToTheEndOfTheFile) {
  EXPECT_EQ(HotRegion::Data(22, 63).range(), ByteRange::From(63 * 4 * kMiB));
  EXPECT_EQ(HotRegion::Data(57, 63).range().end, ByteRange::kEndOfFile);
}

TEST(HotRegion, AnImpossibleCodeStandsForTheWholeFile) {
  for (const int64_t code :
       {int64_t{0}, int64_t{21 * 64}, int64_t{58 * 64}, INT64_MAX, INT64_MIN}) {
    EXPECT_EQ(HotRegion::FromCode(code).range(), ByteRange::Whole()) << code;
  }
}

TEST(HotObject, ATouchAsksForAMarkUntilThereIsOne) {
  HotObject object;
  EXPECT_EQ(object.TouchData({0, 1}).size(), 1u);
  EXPECT_EQ(object.TouchData({0, 1}).size(), 1u);  // asked for, not there yet
  object.Marked(HotRegion::Data(22, 0));
  EXPECT_TRUE(object.TouchData({0, 4 * kMiB}).empty());
  EXPECT_EQ(object.TouchData({0, 4 * kMiB + 1}).size(), 1u);
}

TEST(HotObject, AttributesAndEntriesAreRegionsOfTheirOwn) {
  HotObject object;
  EXPECT_TRUE(Has(object.TouchAttributes(), HotRegion::Attributes()));
  EXPECT_TRUE(Has(object.TouchEntries(), HotRegion::Entries()));
  object.Marked(HotRegion::Attributes());
  EXPECT_TRUE(object.TouchAttributes().empty());
  EXPECT_FALSE(object.TouchEntries().empty());
}

TEST(HotObject, AnOpenEndTouchesEveryRegionBehindTheStart) {
  HotObject object;
  EXPECT_EQ(object.TouchData(ByteRange::From(0)).size(), 64u);
  HotObject another;
  EXPECT_EQ(another.TouchData(ByteRange::From(62 * 4 * kMiB)).size(), 2u);
}

TEST(HotObject, ALargeFileHasLargerRegions) {
  HotObject object;
  const auto regions = object.TouchData({1024 * kMiB - 1, 1024 * kMiB});
  ASSERT_EQ(regions.size(), 1u);
  EXPECT_TRUE(regions[0].range().start <= 1024 * kMiB - 1);
  EXPECT_EQ(regions[0].code() / HotRegion::kPerFile, 24);
  // Every offset a file can have is in one of the 64.
  HotObject huge;
  const uint64_t last = ByteRange::kEndOfFile - 1;
  const auto far = huge.TouchData({last - 1, last});
  ASSERT_EQ(far.size(), 1u);
  EXPECT_LE(far[0].range().start, last - 1);
  EXPECT_GE(far[0].range().end, last);
}

TEST(HotObject, WhatATouchReturnsCoversTheTouchedBytes) {
  for (const ByteRange range :
       {ByteRange{0, 1}, ByteRange{4 * kMiB - 1, 4 * kMiB + 1}, ByteRange{255 * kMiB, 300 * kMiB},
        ByteRange{1ull << 50, 1ull << 51}, ByteRange::From(1ull << 40)}) {
    HotObject object;
    RangeSet covered;
    for (const HotRegion region : object.TouchData(range)) covered.Add(region.range());
    EXPECT_TRUE(covered.Contains(range)) << range.start << " to " << range.end;
  }
}

// How many durable marks, each of which waits for the disk, it takes to write all over a file.
int MarksFor(HotObject& object, const std::vector<uint64_t>& offsets, uint64_t bytes) {
  int marks = 0;
  for (const uint64_t offset : offsets) {
    (void)object.TouchData({offset, offset + 1});
    const auto undurable = object.WithoutDurableMark({offset, offset + 1});
    if (undurable.empty()) continue;
    ++marks;
    const auto ahead = object.TouchAhead(undurable, bytes);
    for (const HotRegion region : undurable) {
      EXPECT_FALSE(Has(ahead, region));
      object.Marked(region, /*durable=*/true);
    }
    for (const HotRegion region : ahead) {
      EXPECT_LT(region.range().start, bytes);
      object.Marked(region, /*durable=*/true);
    }
  }
  return marks;
}

std::vector<uint64_t> OffsetsEvery(uint64_t step, uint64_t bytes) {
  std::vector<uint64_t> offsets;
  for (uint64_t at = 0; at < bytes; at += step) offsets.push_back(at);
  return offsets;
}

TEST(HotObject, AFileThatIsWrittenAllOverIsMarkedInFewSteps) {
  auto offsets = OffsetsEvery(4 * kMiB, 256 * kMiB);
  HotObject in_order;
  EXPECT_EQ(MarksFor(in_order, offsets, 256 * kMiB), 7);
  std::mt19937 random(1);
  std::ranges::shuffle(offsets, random);
  HotObject at_random;
  EXPECT_LE(MarksFor(at_random, offsets, 256 * kMiB), 7);
}

TEST(HotObject, OneThatIsWrittenInOnePlaceIsMarkedThere) {
  HotObject object;
  EXPECT_EQ(MarksFor(object, {0, 1, 2}, 256 * kMiB), 1);
  EXPECT_EQ(object.WithoutDurableMark({4 * kMiB, 256 * kMiB}).size(), 63u);
}

TEST(HotObject, LargeRegionsAreNotMarkedAhead) {
  HotObject object;
  constexpr uint64_t kBytes = 100ull << 30;
  (void)object.TouchData({kBytes - 1, kBytes});  // now it knows how large they are
  EXPECT_EQ(MarksFor(object, OffsetsEvery(2048 * kMiB, kBytes), kBytes), 50);
}

TEST(HotObject, WhatIsMarkedAheadCoolsUnlessItIsTouched) {
  HotObject object;
  EXPECT_EQ(MarksFor(object, {0, 4 * kMiB}, 256 * kMiB), 2);  // and one ahead
  EXPECT_TRUE(object.EndWindow(false).empty());
  Operate(object, {0, 8 * kMiB});
  const auto cooled = object.EndWindow(false);
  ASSERT_EQ(cooled.size(), 1u);
  EXPECT_EQ(cooled[0], HotRegion::Data(22, 2));
}

TEST(HotObject, ARegionCoolsAfterAWholeWindowWithoutTouch) {
  HotObject object;
  Operate(object, {0, 1});
  EXPECT_TRUE(object.EndWindow(false).empty());  // touched in this window
  const auto cooled = object.EndWindow(false);
  ASSERT_EQ(cooled.size(), 1u);
  EXPECT_EQ(cooled[0].code(), HotRegion::Data(22, 0).code());
  EXPECT_TRUE(object.unused());
}

TEST(HotObject, ATouchWithoutANewMarkKeepsTheRegionHot) {
  HotObject object;
  for (int window = 0; window < 5; ++window) {
    Operate(object, {0, 1});
    EXPECT_TRUE(object.EndWindow(false).empty());
  }
}

TEST(HotObject, OnlyTheRegionsLeftAloneCool) {
  HotObject object;
  Operate(object, {0, 8 * kMiB});
  (void)object.EndWindow(false);
  Operate(object, {0, 1});
  const auto cooled = object.EndWindow(false);
  ASSERT_EQ(cooled.size(), 1u);
  EXPECT_EQ(cooled[0].code(), HotRegion::Data(22, 1).code());
  EXPECT_TRUE(object.TouchData({0, 1}).empty());
  EXPECT_EQ(object.TouchData({4 * kMiB, 4 * kMiB + 1}).size(), 1u);
}

TEST(HotObject, AnOperationThatOutlivesItsWindowKeepsEverythingHot) {
  HotObject object;
  const uint8_t pin = object.Pin();
  for (const HotRegion region : object.TouchData({0, 1})) object.Marked(region);
  for (int window = 0; window < 5; ++window) {
    EXPECT_TRUE(object.EndWindow(false).empty()) << window;
    EXPECT_TRUE(object.EndWindow(true).empty()) << window;
  }
  object.Unpin(pin);
  EXPECT_TRUE(object.EndWindow(false).empty());
  EXPECT_FALSE(object.EndWindow(false).empty());
}

TEST(HotObject, AnOperationKeepsTheWindowInWhichItEndsHotHoweverManyItOutlived) {
  for (int windows = 1; windows <= 5; ++windows) {
    HotObject object;
    const uint8_t pin = object.Pin();
    for (const HotRegion region : object.TouchData({0, 1})) object.Marked(region);
    for (int i = 0; i < windows; ++i) EXPECT_TRUE(object.EndWindow(false).empty()) << i;
    object.Unpin(pin);
    // The sync of the window in which it ended may have come before it.
    EXPECT_TRUE(object.EndWindow(false).empty()) << windows;
    EXPECT_FALSE(object.EndWindow(false).empty()) << windows;
  }
}

TEST(HotObject, OverlappingOperationsKeepItHotWhileOneOfThemIsOld) {
  HotObject object;
  const uint8_t old = object.Pin();
  for (const HotRegion region : object.TouchData({0, 1})) object.Marked(region);
  (void)object.EndWindow(false);
  for (int window = 0; window < 4; ++window) {
    const uint8_t pin = object.Pin();  // these come and go, and touch something else
    for (const HotRegion region : object.TouchData({8 * kMiB, 9 * kMiB})) object.Marked(region);
    EXPECT_TRUE(object.EndWindow(false).empty()) << window;
    object.Unpin(pin);
  }
  object.Unpin(old);
}

TEST(HotObject, UnderPressureAllThatNobodyUsesCoolsAtOnce) {
  HotObject object;
  Operate(object, {0, 12 * kMiB});
  for (const HotRegion region : object.TouchAttributes()) object.Marked(region);
  EXPECT_EQ(object.EndWindow(true).size(), 4u);
  EXPECT_TRUE(object.cold());
}

TEST(HotObject, AFileThatOutgrewItsRegionsKeepsTheOldMarksUntilAllCool) {
  HotObject object;
  Operate(object, {0, 1});
  Operate(object, {300 * kMiB, 301 * kMiB});
  EXPECT_TRUE(object.EndWindow(false).empty());
  const auto cooled = object.EndWindow(false);
  EXPECT_EQ(cooled.size(), 2u);
  EXPECT_TRUE(Has(cooled, HotRegion::Data(22, 0)));
  EXPECT_TRUE(Has(cooled, HotRegion::Data(23, 37)));
  EXPECT_TRUE(object.unused());
}

TEST(HotObject, AMarkThatComesAfterTheFileGrewIsNotForgotten) {
  HotObject object;
  const uint8_t first = object.Pin();
  const auto missing = object.TouchData({0, 1});
  Operate(object, {300 * kMiB, 301 * kMiB});
  for (const HotRegion region : missing) object.Marked(region);
  object.Unpin(first);
  (void)object.EndWindow(false);
  EXPECT_TRUE(Has(object.EndWindow(false), HotRegion::Data(22, 0)));
}

// The region's row is all that covers what an operation inside the gate is doing.
TEST(HotObject, GrowthDoesNotCoolARegionThatAnOperationIsUsing) {
  HotObject object;
  const uint8_t writing = object.Pin();
  for (const HotRegion region : object.TouchData({0, 4096})) object.Marked(region);
  // Another operation makes the file grow; its own mark is still being committed.
  const uint8_t growing = object.Pin();
  const auto missing = object.TouchData({300 * kMiB, 300 * kMiB + 4096});
  EXPECT_FALSE(missing.empty());
  EXPECT_FALSE(Has(object.EndWindow(false), HotRegion::Data(22, 0)));
  object.Unpin(growing);
  object.Unpin(writing);
}

TEST(HotObject, WhatCouldNotBeCooledIsHotAgain) {
  HotObject object;
  Operate(object, {0, 1});
  (void)object.EndWindow(false);
  const auto cooled = object.EndWindow(false);
  object.Restore(cooled);
  EXPECT_FALSE(object.cold());
  EXPECT_TRUE(object.TouchData({0, 1}).empty());
}

TEST(HotObject, OutgrownRegionsThatCouldNotBeCooledAreNotForgotten) {
  HotObject object;
  Operate(object, {300 * kMiB, 301 * kMiB});
  (void)object.EndWindow(false);
  const auto cooled = object.EndWindow(false);
  ASSERT_EQ(cooled.size(), 1u);
  object.Restore(cooled);
  EXPECT_FALSE(object.cold()) << "the row is still in the table, and nobody knows of it any more";
}

}  // namespace
}  // namespace tandem::meta
