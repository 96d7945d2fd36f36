// Marks, cuts and what is known of them. Cooling and recovery: tracker_recovery_test.cc.
#include "meta/capture/tracker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "meta/change/epoch_limit.h"
#include "tests/process.h"
#include "tests/unit/tracked_directory.h"
#include "tests/unit/waiting_thread.h"

namespace tandem::meta {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = CondVar::Clock;

class TrackerTest : public testing::Test {
 protected:
  Tracker& tracker() { return directory_.tracker(); }
  std::shared_ptr<FrozenCut> Cut(Epoch after = Epoch(),
                                 Tracker::CutMode mode = Tracker::CutMode::kShared) {
    auto cut = tracker().TakeCut(after, mode);
    EXPECT_TRUE(cut) << cut.error().ToString();
    return *cut;
  }
  // Files that have existed for longer than this epoch.
  void MakeOldFile(const std::string& name) {
    directory_.CreateFile(name);
    Cut();
  }

  TrackedDirectory directory_;
};

TEST_F(TrackerTest, AMarkIsCommittedBeforeTheOperationBegins) {
  MakeOldFile("file");
  const ObjectRef file = directory_.Find("file");
  Operation operation = directory_.Begin(Intent().Data(file, {0, 10}).Attributes(file));
  const auto rows = directory_.Inspect().LoadHot().value();
  const auto has = [&](HotRegion region) {
    return std::any_of(rows.begin(), rows.end(), [&](const HotRow& row) {
      return row.object.id == file.id && row.region.code() == region.code();
    });
  };
  EXPECT_TRUE(has(HotRegion::Data(22, 0)));
  EXPECT_TRUE(has(HotRegion::Attributes()));
}

// Always foresees the same.
class Foreseen : public TouchPredictor {
 public:
  explicit Foreseen(std::vector<ObjectRef> next) : next_(std::move(next)) {}
  std::vector<ObjectRef> LikelyNext(const Intent::Item& touched) override {
    ++asked_;
    return touched.touch == Intent::Touch::kData ? std::vector<ObjectRef>() : next_;
  }
  int asked() const { return asked_; }

 private:
  const std::vector<ObjectRef> next_;
  int asked_ = 0;
};

TEST_F(TrackerTest, WhatIsForeseenIsMarkedWithTheFirst) {
  for (const char* name : {"a", "b", "c"}) MakeOldFile(name);
  ASSERT_TRUE(tracker().EndWindow(/*all=*/true));
  ASSERT_EQ(directory_.CountHot(), 0u);
  const ObjectRef a = directory_.Find("a"), b = directory_.Find("b");
  directory_.CreateFile("new");
  const size_t before = directory_.CountHot();  // its directory
  Foreseen predictor({b, directory_.Find("c"), directory_.Find("new")});
  ASSERT_TRUE(tracker().Begin(Intent().Attributes(a), &predictor));
  // What is born in this epoch needs none.
  EXPECT_EQ(directory_.CountHot(), before + 3);
  EXPECT_EQ(predictor.asked(), 1);
  ASSERT_TRUE(tracker().Begin(Intent().Attributes(b), &predictor));
  EXPECT_EQ(predictor.asked(), 1) << "b is marked";
  EXPECT_EQ(directory_.CountHot(), before + 3);
}

TEST_F(TrackerTest, WhatWasForeseenInVainCoolsAsIfItHadBeenTouched) {
  for (const char* name : {"a", "b"}) MakeOldFile(name);
  ASSERT_TRUE(tracker().EndWindow(/*all=*/true));
  Foreseen predictor({directory_.Find("b")});
  { ASSERT_TRUE(tracker().Begin(Intent().Attributes(directory_.Find("a")), &predictor)); }
  EXPECT_EQ(directory_.CountHot(), 2u);
  ASSERT_TRUE(tracker().EndWindow(/*all=*/false));
  EXPECT_EQ(directory_.CountHot(), 2u);
  ASSERT_TRUE(tracker().EndWindow(/*all=*/false));
  EXPECT_EQ(directory_.CountHot(), 0u);
  EXPECT_EQ(tracker().hot_objects(), 0u);
  for (const ObjectRef& changed : tracker().recently_changed()) {
    EXPECT_NE(changed.id, directory_.Find("b").id) << "it was not";
  }
}

TEST_F(TrackerTest, WithoutMemoryToLookAheadEverythingStillCools) {
  class OutOfMemory : public TouchPredictor {
   public:
    explicit OutOfMemory(ObjectRef next) : next_(std::move(next)) {}
    // Not the first time.
    std::vector<ObjectRef> LikelyNext(const Intent::Item&) override {
      if (std::exchange(asked_, true)) throw std::bad_alloc();
      return {next_};
    }

   private:
    const ObjectRef next_;
    bool asked_ = false;
  };
  for (const char* name : {"a", "b", "c"}) MakeOldFile(name);
  ASSERT_TRUE(tracker().EndWindow(/*all=*/true));
  const ObjectRef a = directory_.Find("a"), b = directory_.Find("b"), c = directory_.Find("c");
  OutOfMemory predictor(c);
  const Intent intent = Intent().Attributes(a).Attributes(b);
  EXPECT_THROW((void)tracker().Begin(intent, &predictor), std::bad_alloc);
  { ASSERT_TRUE(tracker().Begin(intent)); }
  { ASSERT_TRUE(tracker().Begin(Intent().Attributes(c))); }
  EXPECT_EQ(directory_.CountHot(), 3u);
  ASSERT_TRUE(tracker().EndWindow(/*all=*/true));
  EXPECT_EQ(directory_.CountHot(), 0u);
}

TEST_F(TrackerTest, ANewObjectNeedsNoMarkInTheEpochOfItsBirth) {
  directory_.CreateFile("file");
  EXPECT_EQ(directory_.CountHot(), 1u);  // the directory
  directory_.Write("file", 0, "content");
  EXPECT_EQ(directory_.CountHot(), 1u);
  Cut();
  directory_.Write("file", 0, "content");
  EXPECT_EQ(directory_.CountHot(), 2u);
}

TEST_F(TrackerTest, ABirthThatEndsWhileTheOperationWaitsAtTheGateIsNotReliedOn) {
  // Cuts all the time, while a newborn file is written to.
  std::atomic<bool> stop{false};
  std::thread cutter([&] {
    while (!stop) Cut();
  });
  for (int i = 0; i < 100; ++i) {
    const std::string name = "file" + std::to_string(i);
    directory_.CreateFile(name);
    const ObjectRef file = directory_.Find(name);
    Operation operation = directory_.Begin(Intent().Data(file, {0, 1}));
    const ObjectChange pending =
        tracker().ChangesAfter(Epoch(tracker().open_epoch().number() - 1), file.id);
    const auto rows = directory_.Inspect().LoadHot().value();
    const bool marked = std::any_of(rows.begin(), rows.end(),
                                    [&](const HotRow& row) { return row.object.id == file.id; });
    EXPECT_TRUE(pending.whole || marked) << name;
  }
  stop = true;
  cutter.join();
}

TEST_F(TrackerTest, ACutHoldsExactlyWhatWasChangedBeforeIt) {
  MakeOldFile("a");
  MakeOldFile("b");
  const Epoch before = Cut()->cut().name.epoch;
  directory_.Write("a", 100, "12345");
  const auto first = Cut(before);
  directory_.Write("b", 0, "1");
  directory_.Write("a", 0, "1");
  const auto second = Cut(first->cut().name.epoch);
  const ObjectId a = directory_.Find("a").id, b = directory_.Find("b").id;

  ASSERT_NE(first->changes().Find(a), nullptr);
  EXPECT_EQ(first->changes().Find(a)->data.ToVector(), (std::vector<ByteRange>{{100, 105}}));
  EXPECT_EQ(first->changes().Find(b), nullptr);
  EXPECT_EQ(second->changes().Find(a)->data.ToVector(), (std::vector<ByteRange>{{0, 1}}));
  EXPECT_NE(second->changes().Find(b), nullptr);
  EXPECT_EQ(second->cut().name.epoch, first->cut().name.epoch.Next());
  // For a replica that is further behind, both.
  EXPECT_EQ(Cut(before)->changes().Find(a)->data.count(), 2u);
}

TEST_F(TrackerTest, ACutIsInTheDatabaseBeforeAnybodyIsToldOfIt) {
  directory_.CreateFile("file");
  const CutName cut = Cut()->cut().name;
  const auto cuts = directory_.Inspect().LoadCuts().value();
  EXPECT_EQ(cuts.back().name, cut);
  EXPECT_TRUE(tracker().Knows(cut));
  EXPECT_FALSE(tracker().Knows({cut.epoch, CutId(1, 1)}));
}

TEST_F(TrackerTest, ACutOfNothingIsTheOneBefore) {
  directory_.CreateFile("file");
  const CutName cut = Cut()->cut().name;
  EXPECT_EQ(Cut()->cut().name, cut);
  EXPECT_NE(Cut(Epoch(), Tracker::CutMode::kFresh)->cut().name, cut);
}

TEST_F(TrackerTest, NoChangeFallsBetweenTwoCuts) {
  constexpr int kThreads = 4;
  std::atomic<bool> stop{false};
  std::array<std::atomic<uint64_t>, kThreads> written{};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) MakeOldFile("file" + std::to_string(t));
  const Epoch before = Cut()->cut().name.epoch;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const ObjectRef file = directory_.Find("file" + std::to_string(t));
      for (uint64_t at = 0; !stop; ++at) {
        Operation operation = directory_.Begin(Intent().Data(file, {2 * at, 2 * at + 1}));
        operation.Wrote(file, {2 * at, 2 * at + 1});
        operation.End();
        written[static_cast<size_t>(t)] = at + 1;
      }
    });
  }
  Epoch after = before;
  std::array<RangeSet, kThreads> shipped;
  for (int i = 0; i < 60; ++i) {
    std::array<uint64_t, kThreads> begun_before;
    for (size_t t = 0; t < kThreads; ++t) begun_before[t] = written[t];
    const auto cut = Cut(after);
    after = cut->cut().name.epoch;
    for (size_t t = 0; t < kThreads; ++t) {
      const ObjectId id = directory_.Find("file" + std::to_string(t)).id;
      if (const ObjectChange* change = cut->changes().Find(id)) {
        for (const ByteRange& range : change->data.ToVector()) shipped[t].Add(range);
      }
      // Order is by return: what had returned before the cut is in it. (Ranges do not touch, so
      // each counts; where many are merged, more is shipped.)
      EXPECT_GE(shipped[t].TotalBytes(), begun_before[t]);
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TrackerTest, UnlinkedObjectsStayReadableThroughACutThatNeedsThem) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, "content");
  const ObjectRef file = directory_.Find("file");
  const auto cut = Cut();
  directory_.Remove("file");
  auto opened = cut->Open(file);
  ASSERT_NE(opened.value(), nullptr);
  EXPECT_EQ((*opened)->ReadAttributes(WithXattrs::kNo)->size, 7u);
  std::string bytes(7, '\0');
  EXPECT_EQ((*opened)->Read(0, bytes).value(), 7u);
  EXPECT_EQ(bytes, "content");
  EXPECT_EQ(Cut()->Open(file).value(), nullptr);
}

TEST_F(TrackerTest, DroppingForgetsOlderCutsAndKeepsWhatIsNewer) {
  directory_.CreateFile("a");
  const CutName first = Cut()->cut().name;
  directory_.CreateFile("b");
  const CutName second = Cut()->cut().name;
  directory_.CreateFile("c");
  ASSERT_TRUE(tracker().DropThrough(second.epoch));
  EXPECT_FALSE(tracker().Knows(first));
  EXPECT_TRUE(tracker().Knows(second));
  EXPECT_TRUE(tracker().ChangesAfter(Epoch(), directory_.Find("a").id).empty());
  EXPECT_FALSE(tracker().ChangesAfter(second.epoch, directory_.Find("c").id).empty());
}

TEST_F(TrackerTest, TheNewestChangeIsWhatSyncHasToWaitFor) {
  EXPECT_EQ(tracker().NewestChange(), Epoch());
  directory_.CreateFile("file");
  const Epoch newest = tracker().NewestChange();
  EXPECT_EQ(newest, tracker().open_epoch());
  EXPECT_EQ(Cut()->cut().name.epoch, newest);
  EXPECT_EQ(tracker().NewestChange(), newest);
  ASSERT_TRUE(tracker().DropThrough(newest));
  EXPECT_LE(tracker().NewestChange(), newest);
}

// Otherwise a sync waits for an epoch in which nothing happens.
TEST_F(TrackerTest, TheNewestChangeIsNeverInAnEpochWithoutChanges) {
  MakeOldFile("file");
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> newest{0};
  std::vector<std::thread> askers;
  for (int i = 0; i < 3; ++i) {
    askers.emplace_back([&] {
      while (!stop) {
        const uint64_t asked = tracker().NewestChange().number();
        uint64_t seen = newest;
        while (seen < asked && !newest.compare_exchange_weak(seen, asked)) {
        }
      }
    });
  }
  const ObjectRef file = directory_.Find("file");
  const auto end = Clock::now() + seconds(3);
  bool ahead = false;
  while (Clock::now() < end && !ahead) {
    Operation operation = directory_.Begin(Intent().Data(file, {0, 1}));
    operation.Wrote(file, {0, 1});
    operation.End();
    const Epoch cut = Cut(Epoch(tracker().open_epoch().number() - 1))->cut().name.epoch;
    // Nothing has changed since the cut, so nothing after it may have been called a change.
    ahead = newest > cut.number();
  }
  stop = true;
  for (std::thread& asker : askers) asker.join();
  EXPECT_FALSE(ahead);
}

TEST_F(TrackerTest, WaitingForChangesEndsWithTheFirstOne) {
  MakeOldFile("file");
  const Epoch applied = Cut()->cut().name.epoch;
  EXPECT_FALSE(tracker().WaitForChanges(applied, Clock::now() + milliseconds(10)));
  std::atomic<bool> found{false};
  const test::WaitingThread waiter(
      [&] { found = tracker().WaitForChanges(applied, Clock::now() + seconds(20)); });
  waiter.ExpectAsleep();
  EXPECT_FALSE(found);
  directory_.Write("file", 0, "x");
  EXPECT_TRUE(test::WaitFor([&found] { return found.load(); }, seconds(10)));
}

// Two replicas wait; the first to wake ends the epoch before the second has looked.
TEST_F(TrackerTest, WaitingForChangesEndsEvenIfAnotherHasTakenTheCutAlready) {
  MakeOldFile("file");
  Clock::duration longest{};
  for (int round = 0; round < 40; ++round) {
    const Epoch applied = Cut()->cut().name.epoch;
    std::atomic<Clock::rep> ended{0};
    Clock::time_point changed;
    {
      const test::WaitingThread waiter([&] {
        (void)tracker().WaitForChanges(applied, Clock::now() + milliseconds(500));
        ended = Clock::now().time_since_epoch().count();
      });
      waiter.ExpectAsleep();
      directory_.Write("file", 0, "x");
      Cut();
      changed = Clock::now();
    }
    longest = std::max(longest, Clock::duration(ended) - changed.time_since_epoch());
  }
  EXPECT_LT(longest, milliseconds(200)) << "a waiter slept on although there was something to ship";
}

TEST_F(TrackerTest, EpochsAreNumberedBeyondAReplicasFromAnotherLife) {
  directory_.CreateFile("file");
  ASSERT_TRUE(tracker().AdvanceBeyond(Epoch(1000)));
  EXPECT_EQ(Cut()->cut().name.epoch, Epoch(1001));
  ASSERT_TRUE(tracker().AdvanceBeyond(Epoch(5)));
  EXPECT_EQ(tracker().open_epoch(), Epoch(1002));
}

// Whatever is claimed, and however often, there is room for more cuts than will ever be taken.
TEST_F(TrackerTest, EpochsAreNotNumberedBeyondWhatCanHaveBeenCounted) {
  for (const uint64_t claim : {UINT64_MAX, uint64_t{INT64_MAX}, kNewestEpoch.number(),
                               uint64_t{1} << 61, NewestPlausible().number() + 60'000'000}) {
    const auto followed = tracker().AdvanceBeyond(Epoch(claim));
    ASSERT_FALSE(followed) << claim;
    EXPECT_EQ(followed.error().kind(), ErrorKind::kProtocol);
    EXPECT_LT(tracker().open_epoch(), Epoch(10));
  }
  for (int i = 0; i < 100; ++i) {
    const Epoch claim = NewestPlausible();
    ASSERT_TRUE(tracker().AdvanceBeyond(claim));
    EXPECT_GT(tracker().open_epoch(), claim);
  }
  // What a replica holds that is no further than this counter is believed after any loss of state.
  directory_.CreateFile("file");
  const Epoch held = Cut()->cut().name.epoch;
  test::WaitFor([&] { return NewestPlausible() > held; });
  EXPECT_TRUE(tracker().AdvanceBeyond(held));
}

}  // namespace
}  // namespace tandem::meta
