#include "fs/serving/delayed_calls.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <future>
#include <thread>
#include <vector>

#include "fs/serving/tuning.h"

namespace tandem::fs {
namespace {

TEST(DelayedCalls, FewRunAtATimeAndNoneAfterTheEnd) {
  DelayedCalls calls;
  std::promise<void> go_on;
  const std::shared_future<void> gone_on = go_on.get_future().share();
  for (int i = 0; i < kMostDelayedCalls; ++i) {
    EXPECT_EQ(calls.Start([gone_on] { gone_on.wait(); }), DelayedCalls::Started::kYes);
  }
  EXPECT_EQ(calls.Start([] {}), DelayedCalls::Started::kTooMany);
  go_on.set_value();
  calls.Finish();
  EXPECT_EQ(calls.Start([] {}), DelayedCalls::Started::kNo);
}

// A thread that serves a ring is bound to its processor; what a delayed call starts must not be.
TEST(DelayedCalls, AreBoundToNoProcessor) {
  cpu_set_t all;
  ASSERT_EQ(0, sched_getaffinity(0, sizeof all, &all));
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "there is one processor";
  cpu_set_t seen;
  CPU_ZERO(&seen);
  DelayedCalls calls;
  std::thread bound([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
      if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    }
    ASSERT_EQ(0, sched_setaffinity(0, sizeof one, &one));
    EXPECT_EQ(calls.Start([&seen] { sched_getaffinity(0, sizeof seen, &seen); }),
              DelayedCalls::Started::kYes);
  });
  bound.join();
  calls.Finish();
  EXPECT_TRUE(CPU_EQUAL(&seen, &all));
}

}  // namespace
}  // namespace tandem::fs
