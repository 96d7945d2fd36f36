#include "fs/serving/reader_policy.h"

#include <gtest/gtest.h>

namespace tandem::fs {
namespace {

constexpr unsigned kFew = 2;
constexpr unsigned kMany = 16;

void Repeat(ReaderPolicy& policy, int ticks, ServingActivity activity) {
  for (int i = 0; i < ticks; ++i) policy.Tick(activity);
}

TEST(ReaderPolicy, OneIsEnoughWhileThereIsTimeToWait) {
  ReaderPolicy policy(kMany);
  EXPECT_EQ(policy.Readers(), 1u);
  for (int i = 0; i < 100; ++i) {
    Repeat(policy, 4, ServingActivity::kRunning);
    Repeat(policy, 1, ServingActivity::kReading);
    EXPECT_EQ(policy.Readers(), 1u);
  }
}

TEST(ReaderPolicy, OneThatIsBlockedGetsHelpForAWhile) {
  ReaderPolicy policy(kFew);
  Repeat(policy, 1, ServingActivity::kBlocked);
  EXPECT_EQ(policy.Readers(), 2u);
  Repeat(policy, 2, ServingActivity::kReading);
  EXPECT_EQ(policy.Readers(), 2u);
  Repeat(policy, 10, ServingActivity::kReading);
  EXPECT_EQ(policy.Readers(), 1u);
}

// Ticks until one reader has to do again.
int TicksOfTwo(ReaderPolicy& policy) {
  int ticks = 0;
  for (policy.Tick(ServingActivity::kBlocked); policy.Readers() == 2; ++ticks) {
    policy.Tick(ServingActivity::kReading);
  }
  return ticks;
}

TEST(ReaderPolicy, TheSoonerItIsBlockedAgainTheLonger) {
  ReaderPolicy policy(kFew);
  const int first = TicksOfTwo(policy);
  const int second = TicksOfTwo(policy);
  EXPECT_GT(second, first);
  EXPECT_GT(TicksOfTwo(policy), second);
  Repeat(policy, 10, ServingActivity::kRunning);
  EXPECT_EQ(TicksOfTwo(policy), first);
}

TEST(ReaderPolicy, WhereOneIsOftenBlockedThereAreTwoMostOfTheTime) {
  ReaderPolicy policy(kFew);
  int two = 0;
  for (int i = 0; i < 1000; ++i) {
    policy.Tick(ServingActivity::kBlocked);
    if (policy.Readers() == 2) ++two;
  }
  EXPECT_GT(two, 900);
  EXPECT_LT(two, 1000);  // it is asked now and then
}

TEST(ReaderPolicy, DisabledThereAreTwoReadersWhateverTheyDo) {
  ReaderPolicy policy(kMany, /*adaptive=*/false);
  for (const auto activity :
       {ServingActivity::kReading, ServingActivity::kRunning, ServingActivity::kBlocked}) {
    EXPECT_EQ(policy.Readers(), 2u);
    Repeat(policy, 200, activity);
  }
  EXPECT_EQ(policy.Readers(), 2u);
}

TEST(ReaderPolicy, ABusyOneGetsHelpWhereProcessorsAreIdle) {
  ReaderPolicy few(kFew);
  Repeat(few, 100, ServingActivity::kRunning);
  EXPECT_EQ(few.Readers(), 1u);
  ReaderPolicy many(kMany);
  Repeat(many, 10, ServingActivity::kRunning);
  EXPECT_EQ(many.Readers(), 2u);
}

}  // namespace
}  // namespace tandem::fs
