#include "fs/objects/walk_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "fs/objects/tuning.h"

namespace tandem::fs {
namespace {

using meta::Intent;
using meta::ObjectRef;
using std::chrono::milliseconds;

class WalkOrderTest : public testing::Test {
 protected:
  static ObjectRef Object(uint64_t number) { return {ObjectId(7, number), FileHandle("handle")}; }
  // Every tenth is a directory.
  void List(const std::vector<uint64_t>& numbers) {
    std::vector<ObjectRef> objects;
    for (const uint64_t number : numbers) objects.push_back(Object(number));
    std::vector<WalkOrder::Listed> listed;
    for (size_t i = 0; i < numbers.size(); ++i) {
      listed.push_back({&objects[i], numbers[i] % 10 == 0});
    }
    order_.Add(listed);
  }
  // `count` objects from `first` on, in reads of 100.
  void ListFrom(uint64_t first, uint64_t count) {
    for (uint64_t done = 0; done < count; done += 100) {
      std::vector<uint64_t> numbers(std::min<uint64_t>(100, count - done));
      std::iota(numbers.begin(), numbers.end(), first + done);
      List(numbers);
    }
  }
  std::vector<ObjectRef> After(const Intent& intent, milliseconds later = milliseconds(1)) {
    now_ += later;
    return order_.LikelyNext(*intent.begin(), now_);
  }
  std::vector<ObjectRef> AfterChmod(uint64_t number, milliseconds later = milliseconds(1)) {
    const ObjectRef object = Object(number);
    return After(Intent().Attributes(object), later);
  }
  std::vector<ObjectRef> AfterNamesIn(uint64_t number) {
    const ObjectRef object = Object(number);
    return After(Intent().Entries(object));
  }
  // How many marks are made one by one when the objects of [first, end) are changed in turn.
  int Chmod(uint64_t first, uint64_t end) {
    int marks = 0;
    while (first < end) {
      ++marks;
      uint64_t expected = first + 1;
      for (const ObjectRef& next : AfterChmod(first)) EXPECT_EQ(next.id, Object(expected++).id);
      first = expected;
    }
    return marks;
  }

  WalkOrder order_;
  WalkOrder::Clock::time_point now_{std::chrono::hours(1)};
};

TEST_F(WalkOrderTest, AWalkIsMarkedInFewSteps) {
  ListFrom(0, 1000);
  EXPECT_LE(Chmod(0, 1000), 45);
}

TEST_F(WalkOrderTest, OfDirectoriesOnlyDirectoriesFollow) {
  ListFrom(0, 100);
  (void)AfterNamesIn(0);
  const auto next = AfterNamesIn(10);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].id, Object(20).id);
  const auto more = AfterNamesIn(30);
  ASSERT_EQ(more.size(), 3u);
  EXPECT_EQ(more[2].id, Object(60).id);
}

TEST_F(WalkOrderTest, NothingFollowsTheLast) {
  List({10, 1, 2});
  (void)AfterNamesIn(10);
  EXPECT_TRUE(AfterNamesIn(10).empty());
  (void)AfterChmod(1);
  EXPECT_TRUE(AfterChmod(2).empty());
}

TEST_F(WalkOrderTest, AWalkIntoDirectoriesGoesOnBehindThem) {
  ListFrom(0, 100);
  EXPECT_TRUE(AfterChmod(0).empty());
  EXPECT_EQ(AfterChmod(1).size(), 1u);
  ListFrom(1000, 50);
  EXPECT_EQ(AfterChmod(1000).size(), 3u);
  EXPECT_EQ(AfterChmod(3).size(), 7u);
}

TEST_F(WalkOrderTest, WhoGoesBackOrRestsDoesNotWalk) {
  ListFrom(0, 100);
  (void)AfterChmod(50);
  EXPECT_EQ(AfterChmod(51).size(), 1u);
  EXPECT_TRUE(AfterChmod(20).empty());
  EXPECT_EQ(AfterChmod(21).size(), 1u);
  EXPECT_TRUE(AfterChmod(30, milliseconds(1000)).empty());
}

TEST_F(WalkOrderTest, NobodyKnowsWhatFollowsAnObjectThatWasNotListed) {
  ListFrom(0, 10);
  (void)AfterChmod(0);
  EXPECT_TRUE(AfterChmod(77).empty());
  const ObjectRef file = Object(1);
  EXPECT_TRUE(After(Intent().Data(file, {0, 1})).empty());
}

TEST_F(WalkOrderTest, OldListingsAreForgotten) {
  ListFrom(0, 100);
  ListFrom(1000, kMaxListed);
  (void)AfterChmod(0);
  EXPECT_TRUE(AfterChmod(1).empty());
  (void)AfterChmod(2000);
  EXPECT_FALSE(AfterChmod(2001).empty());
}

TEST_F(WalkOrderTest, WhatIsListedAgainIsKnownByItsLastPlace) {
  List({1, 3, 4, 5, 8});
  List({5, 3, 8});
  (void)AfterChmod(5);
  const auto next = AfterChmod(3);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].id, Object(8).id);
}

}  // namespace
}  // namespace tandem::fs
