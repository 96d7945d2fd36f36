// The parts of the tracker, each alone (meta/capture/tracker.h).
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "meta/capture/change_signal.h"
#include "meta/capture/deferred_changes.h"
#include "meta/capture/marks.h"
#include "meta/capture/open_epoch.h"
#include "tests/scratch.h"
#include "tests/unit/waiting_thread.h"

namespace tandem::meta {
namespace {

// Nothing here waits for the time that is usual.
constexpr std::chrono::milliseconds kAtOnce{0};

ObjectRef Object(uint64_t number) { return {ObjectId(7, number), {}}; }

TEST(OpenEpoch, MovesWhatHasChangedToALayerAndCountsIt) {
  OpenEpoch epoch(Epoch(5), {});
  const auto weighs = [&epoch](uint64_t weight) { return epoch.weight() == weight; };
  epoch.Record(Object(1), [](ObjectChange& change) {
    change.AddWhole();
    change.born = true;
  });
  EXPECT_TRUE(weighs(1)) << "an object; its one range counts nothing";
  epoch.Record(Object(2), [](ObjectChange& change) {
    change.SetEntry("a", ObjectId(7, 1), {});
    change.SetEntry("b", ObjectId(7, 3), {});
  });
  EXPECT_TRUE(weighs(1 + 3)) << "and two names of another";
  for (uint64_t i = 0; i < 2 * kRangesPerWeight; ++i) {
    epoch.Record(Object(3), [i](ObjectChange& change) { change.AddData({4 * i, 4 * i + 1}); });
  }
  EXPECT_TRUE(weighs(1 + 3 + 3)) << "and ranges, a quarter each";
  epoch.Record(Object(3), [](ObjectChange& change) { change.AddData({0, 4096}); });
  EXPECT_TRUE(weighs(1 + 3 + 1)) << "which have become one";
  EXPECT_TRUE(epoch.IsNewborn(ObjectId(7, 1)));
  EXPECT_FALSE(epoch.IsNewborn(ObjectId(7, 2)));

  Layer layer;
  epoch.MoveTo(layer);
  EXPECT_EQ(layer.cut.name.epoch, Epoch(5));
  EXPECT_EQ(layer.weight, 5u);
  EXPECT_EQ(layer.weight, layer.CountWeight());
  EXPECT_NE(layer.Find(ObjectId(7, 2)), nullptr);
  EXPECT_EQ(epoch.weight(), 0u);
  EXPECT_FALSE(epoch.IsNewborn(ObjectId(7, 1)));
}

TEST(OpenEpoch, BeginsWithWhatAnEarlierRunHasRecorded) {
  Layer recovered;
  recovered.shards[ShardOf(ObjectId(7, 1))][ObjectId(7, 1)].AddWhole();
  OpenEpoch epoch(Epoch(2), std::move(recovered));
  bool whole = false;
  epoch.Visit(ObjectId(7, 1), [&whole](const ObjectChange& change) { whole = change.whole; });
  EXPECT_TRUE(whole);
  EXPECT_GE(epoch.weight(), 1u);
}

TEST(ChangeSignal, OnlyTheFirstChangeOfAnEpochWakes) {
  ChangeSignal signal(0);
  EXPECT_FALSE(signal.has_changes());
  const uint64_t before = signal.wakes();
  {
    const test::WaitingThread waiting(
        [&] { signal.Wait(before, CondVar::Clock::now() + test::kPatience); });
    waiting.ExpectAsleep();
    signal.NoteChange();
  }
  const int64_t since = signal.first_change_ns();
  EXPECT_NE(since, 0);
  signal.NoteChange();
  EXPECT_EQ(signal.wakes(), before + 1);
  EXPECT_EQ(signal.BeginEpoch(), since);
  EXPECT_FALSE(signal.has_changes());
  EXPECT_EQ(signal.first_change_ns(), 0);
}

class TrackerParts : public testing::Test {
 protected:
  StateDatabase Inspect() { return std::move(StateDatabase::Open(scratch_.path()).value()); }
  // Whether the database has the change of the object as one that is deferred.
  bool IsDeferredInDatabase(const ObjectId& object) {
    const auto dirty = Inspect().LoadDirty().value();
    const auto deferred = dirty.find(kDeferredEpoch);
    return deferred != dirty.end() && deferred->second.contains(object);
  }
  static ObjectChange Attributes() {
    ObjectChange change;
    change.attributes = kAllAttributes;
    return change;
  }

  test::Scratch scratch_;
  StateWriter writer_{std::move(StateDatabase::Open(scratch_.path()).value())};
};

TEST_F(TrackerParts, WhatIsDeferredIsRecordedBeforeItIsForgotten) {
  DeferredChanges* deferred = nullptr;
  int times = 0;
  const auto record = [&](const ObjectRef& object, const ObjectChange&) -> Status {
    EXPECT_TRUE(deferred->Of(object.id)) << "still deferred while it is recorded";
    ++times;
    return {};
  };
  DeferredChanges changes(writer_, record, kAtOnce);
  deferred = &changes;
  ASSERT_TRUE(changes.Add(Object(1), Attributes()));
  EXPECT_TRUE(IsDeferredInDatabase(ObjectId(7, 1)));
  EXPECT_TRUE(changes.OldestNs());
  ASSERT_TRUE(changes.RetryDue());
  EXPECT_EQ(times, 1);
  EXPECT_FALSE(changes.Of(ObjectId(7, 1)));
  EXPECT_FALSE(IsDeferredInDatabase(ObjectId(7, 1)));
  EXPECT_EQ(changes.OldestNs(), std::nullopt);
}

TEST_F(TrackerParts, WhatIsDeferredOnceMoreMeanwhileStays) {
  DeferredChanges* deferred = nullptr;
  const auto record = [&](const ObjectRef& object, const ObjectChange&) {
    return deferred->Add(object, Attributes());
  };
  DeferredChanges changes(writer_, record, kAtOnce);
  deferred = &changes;
  ASSERT_TRUE(changes.Add(Object(1), Attributes()));
  ASSERT_TRUE(changes.RetryDue());
  EXPECT_TRUE(changes.Of(ObjectId(7, 1)));
  EXPECT_TRUE(IsDeferredInDatabase(ObjectId(7, 1)));
}

TEST_F(TrackerParts, WhatIsDeferredWaitsForItsTime) {
  int times = 0;
  const auto record = [&](const ObjectRef&, const ObjectChange&) -> Status {
    ++times;
    return {};
  };
  DeferredChanges changes(writer_, record);
  ASSERT_TRUE(changes.Add(Object(1), Attributes()));
  ASSERT_TRUE(changes.RetryDue());
  EXPECT_EQ(times, 0);
}

}  // namespace
}  // namespace tandem::meta
