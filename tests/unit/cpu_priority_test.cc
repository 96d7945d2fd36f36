#include "meta/base/cpu_priority.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace tandem {
namespace {

std::chrono::nanoseconds RunningTime() {
  timespec time = {};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}
int NiceOfThisThread() { return getpriority(PRIO_PROCESS, 0); }

TEST(CpuPriority, IsThatOfTheWorkAlone) {
  const int policy_before = sched_getscheduler(0);
  const int nice_before = NiceOfThisThread();
  int policy = -1;
  int nice = -1;
  RunAtLowCpuPriority([&] {
    policy = sched_getscheduler(0);
    nice = NiceOfThisThread();
  });
  EXPECT_EQ(policy, SCHED_IDLE) << "unless the other test was before it";
  EXPECT_GT(nice, nice_before);
  EXPECT_EQ(sched_getscheduler(0), policy_before);
  EXPECT_EQ(NiceOfThisThread(), nice_before);
}

// Work that gets no processor for long is nice, not idle, from then on.
TEST(CpuPriority, IsNotTheLowestBesideAProgramThatComputes) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  std::atomic<bool> done = false;
  std::thread computes([&done] {
    while (!done) continue;
  });
  int policy = SCHED_IDLE;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (policy == SCHED_IDLE && std::chrono::steady_clock::now() < deadline) {
    RunAtLowCpuPriority([&policy] {
      policy = sched_getscheduler(0);
      // More than the time between two ticks of the clock. At the lowest priority the rest takes
      // hundreds of times as long.
      while (RunningTime() < std::chrono::milliseconds(12)) continue;
    });
  }
  done = true;
  computes.join();
  EXPECT_EQ(policy, SCHED_OTHER);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

}  // namespace
}  // namespace tandem
