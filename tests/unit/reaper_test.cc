// What is to be closed is closed elsewhere, soon, and certainly before Finish returns.
#include "fs/objects/reaper.h"

#include <gtest/gtest.h>

#include <atomic>

#include "tests/process.h"
#include "tests/unit/waiting_thread.h"

namespace tandem::fs {
namespace {

class ReaperTest : public testing::Test {
 protected:
  // Closing it takes until Release if `slow`.
  Reaper::Open Descriptor(bool slow = false) {
    return {this, [slow](ReaperTest* test) {
              if (slow) test->released_.wait(false);
              ++test->closed_;
            }};
  }
  void Release() {
    released_ = true;
    released_.notify_all();
  }

  std::atomic<bool> released_{false};
  std::atomic<int> closed_{0};
};

TEST_F(ReaperTest, NobodyWaitsForWhatIsClosed) {
  Reaper reaper;
  reaper.Close(Descriptor(/*slow=*/true));
  reaper.Close(Descriptor());
  EXPECT_EQ(closed_, 0);
  Release();
  EXPECT_TRUE(test::WaitFor([this] { return closed_ == 2; }));
}

TEST_F(ReaperTest, FinishWaitsForWhatWasGivenBefore) {
  Reaper reaper;
  EXPECT_FALSE(reaper.Finish(test::kPatience));
  reaper.Close(Descriptor(/*slow=*/true));
  reaper.Close(Descriptor());
  {
    const test::WaitingThread finishing([&reaper] { EXPECT_TRUE(reaper.Finish(test::kPatience)); });
    finishing.ExpectAsleep();
    Release();
  }
  EXPECT_EQ(closed_, 2);
  EXPECT_TRUE(test::WaitFor([&reaper] { return !reaper.Finish(test::kPatience); }));
}

TEST_F(ReaperTest, FinishWaitsNoLongerThanItIsToldTo) {
  Reaper reaper;
  reaper.Close(Descriptor(/*slow=*/true));
  EXPECT_FALSE(reaper.Finish(std::chrono::milliseconds(1)));
  Release();
}

// What waits to be closed stays little: at most one full list is being closed, and one waits.
TEST_F(ReaperTest, ACallerThatGivesTooMuchClosesItItself) {
  constexpr int kMore = 4000;
  Reaper reaper;
  reaper.Close(Descriptor(/*slow=*/true));
  for (int i = 0; i < kMore; ++i) reaper.Close(Descriptor());
  EXPECT_GT(closed_, kMore / 2);
  Release();
}

TEST_F(ReaperTest, WhatIsLeftAtTheEndIsClosed) {
  {
    Reaper reaper;
    for (int i = 0; i < 20; ++i) reaper.Close(Descriptor());
  }
  EXPECT_EQ(closed_, 20);
}

}  // namespace
}  // namespace tandem::fs
