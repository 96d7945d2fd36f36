#include "meta/base/range_set.h"

#include <gtest/gtest.h>

#include <bitset>
#include <random>

namespace tandem {
namespace {

constexpr size_t kBytes = 256;
using Bitmap = std::bitset<kBytes>;

RangeSet Of(std::initializer_list<ByteRange> ranges) {
  RangeSet set;
  for (const ByteRange& range : ranges) set.Add(range);
  return set;
}

Bitmap BitsOf(ByteRange range) {
  Bitmap bits;
  for (uint64_t at = range.start; at < range.end && at < kBytes; ++at) bits.set(at);
  return bits;
}

Bitmap BitsOf(const RangeSet& set) {
  Bitmap bits;
  for (const ByteRange& range : set.ToVector()) bits |= BitsOf(range);
  return bits;
}

// In order, none empty, none overlapping or touching the next.
void ExpectWellFormed(const RangeSet& set) {
  const auto ranges = set.ToVector();
  EXPECT_EQ(ranges.size(), set.count());
  for (size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_LT(ranges[i].start, ranges[i].end);
    if (i > 0) {
      EXPECT_GT(ranges[i].start, ranges[i - 1].end);
    }
  }
}

TEST(ByteRange, LengthsThatWouldWrapEndAtTheEndOfFile) {
  EXPECT_EQ(ByteRange::Of(10, UINT64_MAX), ByteRange::From(10));
  EXPECT_EQ(ByteRange::Of(ByteRange::kEndOfFile - 1, 5).end, ByteRange::kEndOfFile);
  EXPECT_EQ(ByteRange::Of(10, 5), (ByteRange{10, 15}));
  EXPECT_EQ((ByteRange{7, 3}).length(), 0u);
}

TEST(RangeSet, AdjacentRangesMerge) {
  EXPECT_EQ(Of({{0, 10}, {10, 20}}).ToVector(), (std::vector<ByteRange>{{0, 20}}));
  EXPECT_EQ(Of({{10, 20}, {0, 10}}).ToVector(), (std::vector<ByteRange>{{0, 20}}));
  EXPECT_EQ(Of({{0, 10}, {11, 20}}).count(), 2u);
}

TEST(RangeSet, OneRangeSwallowsManyOthers) {
  EXPECT_EQ(Of({{10, 20}, {30, 40}, {50, 60}, {5, 55}}).ToVector(),
            (std::vector<ByteRange>{{5, 60}}));
}

TEST(RangeSet, EmptyRangesChangeNothing) {
  RangeSet set = Of({{10, 20}});
  set.Add({15, 15});
  set.Add({30, 25});
  set.Remove({12, 12});
  EXPECT_EQ(set, Of({{10, 20}}));
  EXPECT_TRUE(set.Contains({40, 40}));
  EXPECT_FALSE(set.Intersects({15, 15}));
}

TEST(RangeSet, RemovingTheMiddleLeavesBothEnds) {
  RangeSet set = Of({{10, 40}});
  set.Remove({20, 30});
  EXPECT_EQ(set, Of({{10, 20}, {30, 40}}));
  set.Remove({0, 100});
  EXPECT_TRUE(set.empty());
}

TEST(RangeSet, RangesToTheEndOfFileAreWhole) {
  RangeSet set = Of({ByteRange::From(100)});
  EXPECT_TRUE(set.Contains({1'000'000, ByteRange::kEndOfFile}));
  EXPECT_EQ(set.TotalBytes(150), 50u);
  EXPECT_EQ(set.TotalBytes(50), 0u);
  set.Remove(ByteRange::From(200));
  EXPECT_EQ(set, Of({{100, 200}}));
}

TEST(RangeSet, AgreesWithABitmapWhateverIsDoneToIt) {
  std::mt19937 random(20240607);
  const auto number = [&random](uint64_t limit) { return random() % limit; };
  for (int run = 0; run < 200; ++run) {
    RangeSet set;
    Bitmap bits;
    for (int step = 0; step < 60; ++step) {
      const uint64_t start = number(kBytes);
      const ByteRange range{start, start + number(number(8) == 0 ? kBytes - start : 24)};
      const ByteRange clipped{range.start, std::min<uint64_t>(range.end, kBytes)};
      if (number(3) == 0) {
        set.Remove(clipped);
        bits &= ~BitsOf(clipped);
      } else {
        set.Add(clipped);
        bits |= BitsOf(clipped);
      }
      ASSERT_EQ(BitsOf(set), bits);
      ASSERT_EQ(set.TotalBytes(), bits.count());
      ExpectWellFormed(set);

      const uint64_t ask_start = number(kBytes);
      const ByteRange ask{ask_start, ask_start + 1 + number(kBytes - ask_start)};
      const Bitmap asked = BitsOf(ask);
      ASSERT_EQ(set.Intersects(ask), (bits & asked).any());
      ASSERT_EQ(set.Contains(ask), (bits & asked) == asked);
      Bitmap within;
      for (const ByteRange& part : set.Within(ask)) within |= BitsOf(part);
      ASSERT_EQ(within, bits & asked);
      ASSERT_EQ(set.TotalBytes(ask.end), (bits & BitsOf({0, ask.end})).count());
    }
  }
}

TEST(RangeSet, UnionsAgreeWithABitmap) {
  std::mt19937 random(7);
  for (int run = 0; run < 200; ++run) {
    RangeSet one, other;
    for (int i = 0; i < 10; ++i) {
      one.Add(ByteRange::Of(random() % 200, random() % 40));
      other.Add(ByteRange::Of(random() % 200, random() % 40));
    }
    const Bitmap expected = BitsOf(one) | BitsOf(other);
    one.AddAll(other);
    ASSERT_EQ(BitsOf(one), expected);
    ExpectWellFormed(one);
  }
}

TEST(RangeSet, CoarseningOnlyGrowsTheSetAndKeepsTheLimit) {
  std::mt19937_64 random(3);
  for (const size_t limit : {1u, 2u, 16u, 200u}) {
    RangeSet set;
    for (int i = 0; i < 1000; ++i)
      set.Add(ByteRange::Of(random() % (1ull << 40), 1 + random() % 9));
    const RangeSet before = set;
    set.Coarsen(limit);
    EXPECT_LE(set.count(), limit);
    ExpectWellFormed(set);
    for (const ByteRange& range : before.ToVector()) EXPECT_TRUE(set.Contains(range));
    // Nothing beyond what was the first and the last byte.
    EXPECT_EQ(set.ToVector().front().start, before.ToVector().front().start);
    EXPECT_EQ(set.ToVector().back().end, before.ToVector().back().end);
  }
}

TEST(RangeSet, CoarseningCopesWithRangesAtBothEndsOfTheOffsets) {
  RangeSet set =
      Of({{0, 1}, {1ull << 62, (1ull << 62) + 1}, ByteRange::From(1ull << 62 | 1 << 20)});
  set.Coarsen(1);
  EXPECT_EQ(set, Of({ByteRange::Whole()}));
}

TEST(RangeSet, CoarseningClosesSmallGapsFirst) {
  RangeSet set = Of({{0, 10}, {20, 30}, {1 << 30, (1 << 30) + 10}});
  set.Coarsen(2);
  EXPECT_EQ(set, Of({{0, 30}, {1 << 30, (1 << 30) + 10}}));
}

}  // namespace
}  // namespace tandem
