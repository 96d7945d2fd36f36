#include "fs/serving/reader_spin.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

namespace tandem::fs {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class ReaderSpinTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(0, pipe(ends_)); }
  void TearDown() override {
    close(ends_[0]);
    close(ends_[1]);
  }
  // One request, which is there when the thread begins to wait.
  void Request() {
    ASSERT_EQ(1, write(ends_[1], "r", 1));
    spin_.Await(ends_[0]);
    char byte;
    ASSERT_EQ(1, read(ends_[0], &byte, 1));
    spin_.Received();
  }
  ReaderSpin::Duration TimeToWaitInVain() {
    const auto begun = ReaderSpin::Clock::now();
    spin_.Await(ends_[0]);
    return ReaderSpin::Clock::now() - begun;
  }

  ReaderSpin spin_;
  int ends_[2];
};

TEST_F(ReaderSpinTest, WhoNeverGotARequestSleepsAtOnce) {
  EXPECT_LT(TimeToWaitInVain(), milliseconds(100));
  EXPECT_EQ(spin_.limit(), microseconds(0));
}

TEST_F(ReaderSpinTest, WaitsWhileRequestsComeAndLessEachTimeNoneDoes) {
  std::this_thread::sleep_for(milliseconds(50));  // which earns an allowance
  Request();
  const auto first = spin_.limit();
  ASSERT_GE(first, kLeastSpin);
  EXPECT_LE(first, kMostSpin);
  EXPECT_GE(TimeToWaitInVain(), first);
  EXPECT_LE(spin_.limit(), first / 2);
  while (spin_.limit() > microseconds(0)) {
    const auto before = spin_.limit();
    (void)TimeToWaitInVain();
    ASSERT_LT(spin_.limit(), before);
  }
}

// Requests that come just too late each time must not cost a processor.
TEST_F(ReaderSpinTest, WhatIsWaitedInVainIsBounded) {
  std::this_thread::sleep_for(milliseconds(50));
  ReaderSpin::Duration in_vain{0};
  const auto begun = ReaderSpin::Clock::now();
  for (int i = 0; i < 20'000; ++i) {
    Request();
    const auto limit = spin_.limit();
    (void)TimeToWaitInVain();
    if (spin_.limit() < limit) in_vain += limit;
  }
  const auto elapsed = ReaderSpin::Clock::now() - begun + milliseconds(50);
  EXPECT_GT(in_vain, microseconds(0));
  EXPECT_LE(in_vain, elapsed / kSpinShare + kMostSpinInVain + kMostSpin);
}

}  // namespace
}  // namespace tandem::fs
