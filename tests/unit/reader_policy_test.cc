#include "fs/reader_policy.h"

#include <gtest/gtest.h>

namespace tandem::fs {
namespace {

using std::chrono::microseconds;

constexpr unsigned kFew = 2;
constexpr unsigned kMany = 16;

void Repeat(ReaderPolicy& policy, int times, microseconds waited, microseconds took) {
  for (int i = 0; i < times; ++i) policy.Handled(waited, took);
}

TEST(ReaderPolicy, OneIsEnoughForShortRequests) {
  ReaderPolicy policy(kMany);
  EXPECT_EQ(policy.Readers(), 1u);
  Repeat(policy, 1000, microseconds(15), microseconds(15));
  EXPECT_EQ(policy.Readers(), 1u);
}

TEST(ReaderPolicy, HandlersThatWaitWantAnother) {
  ReaderPolicy policy(kFew);
  Repeat(policy, 1, microseconds(15), microseconds(2000));
  EXPECT_EQ(policy.Readers(), 2u);
}

TEST(ReaderPolicy, OneLongRequestIsSoonForgotten) {
  ReaderPolicy policy(kFew);
  Repeat(policy, 1, microseconds(15), microseconds(2000));
  Repeat(policy, 10, microseconds(15), microseconds(15));
  EXPECT_EQ(policy.Readers(), 1u);
}

TEST(ReaderPolicy, OneLongInSomeIsRemembered) {
  ReaderPolicy policy(kFew);
  for (int i = 0; i < 100; ++i) {
    Repeat(policy, 1, microseconds(15), microseconds(2000));
    Repeat(policy, 5, microseconds(15), microseconds(15));
    EXPECT_EQ(policy.Readers(), 2u);
  }
  // Not for ever.
  Repeat(policy, 1000, microseconds(15), microseconds(15));
  EXPECT_EQ(policy.Readers(), 1u);
}

TEST(ReaderPolicy, ABusyThreadGetsHelpWhereProcessorsAreIdle) {
  ReaderPolicy few(kFew);
  Repeat(few, 100, microseconds(1), microseconds(15));
  EXPECT_EQ(few.Readers(), 1u);
  ReaderPolicy many(kMany);
  Repeat(many, 100, microseconds(1), microseconds(15));
  EXPECT_EQ(many.Readers(), 2u);
}

}  // namespace
}  // namespace tandem::fs
