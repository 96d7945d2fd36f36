// What lag is counted from.
#include <gtest/gtest.h>

#include "meta/capture/tracker.h"
#include "tests/unit/tracked_directory.h"

namespace tandem::meta {
namespace {

class OldestChange : public testing::Test {
 protected:
  Tracker& tracker() { return directory_.tracker(); }
  Epoch Cut(Tracker::CutMode mode = Tracker::CutMode::kShared) {
    auto cut = tracker().TakeCut(Epoch(), mode);
    EXPECT_TRUE(cut) << cut.error().ToString();
    return (*cut)->cut().name.epoch;
  }
  Epoch FreshCut() { return Cut(Tracker::CutMode::kFresh); }

  TrackedDirectory directory_;
};

// A walk of a replica that is new begins with such a cut.
TEST_F(OldestChange, AfterACutOfNothingThereIsNone) {
  FreshCut();
  EXPECT_EQ(tracker().OldestChangeAfter(Epoch()), std::nullopt);
}

TEST_F(OldestChange, ACutOfNothingIsNoChangeAfterTheOneBefore) {
  directory_.CreateFile("file");
  const Epoch held = Cut();
  ASSERT_TRUE(tracker().OldestChangeAfter(Epoch()));
  FreshCut();
  EXPECT_EQ(tracker().OldestChangeAfter(held), std::nullopt);
}

TEST_F(OldestChange, IsFoundBehindACutOfNothing) {
  const int64_t begin = BootTimeNs();
  const Epoch empty = FreshCut();
  directory_.CreateFile("file");
  for (const Epoch after : {Epoch(), empty}) {
    const auto open = tracker().OldestChangeAfter(after);
    ASSERT_TRUE(open);
    EXPECT_GE(*open, begin);
  }
  Cut();
  FreshCut();
  const auto cut = tracker().OldestChangeAfter(Epoch());
  ASSERT_TRUE(cut);
  EXPECT_GE(*cut, begin);
}

TEST_F(OldestChange, StaysTheOldestWhereEpochsAreMerged) {
  constexpr int kMoreThanAreKeptApart = 20;
  FreshCut();
  directory_.CreateFile("first");
  const auto first = tracker().OldestChangeAfter(Epoch());
  for (int i = 0; i < kMoreThanAreKeptApart; ++i) {
    Cut();
    FreshCut();
    directory_.CreateFile("file" + std::to_string(i));
  }
  EXPECT_EQ(tracker().OldestChangeAfter(Epoch()), first);
}

}  // namespace
}  // namespace tandem::meta
