#include "meta/capture/gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "tests/unit/waiting_thread.h"

namespace tandem::meta {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr microseconds kLong{10'000'000};

TEST(Gate, ManyPassAtATime) {
  Gate gate;
  const int here = gate.Enter();
  std::thread other([&gate] { gate.Leave(gate.Enter()); });
  other.join();
  gate.Leave(here);
}

TEST(Gate, NobodyIsInsideWhileItIsClosed) {
  Gate gate;
  std::atomic<bool> stop{false};
  std::atomic<int> inside{0};
  // Not atomic: the thread sanitizer sees whether the gate orders what is done on both sides.
  uint64_t cuts = 0;
  constexpr int kThreads = 6;
  std::latch all_passed_once(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      gate.Leave(gate.Enter());
      all_passed_once.count_down();
      uint64_t last = 0;
      while (!stop) {
        const int slot = gate.Enter();
        ++inside;
        EXPECT_GE(cuts, last);
        last = cuts;
        --inside;
        gate.Leave(slot);
      }
    });
  }
  all_passed_once.wait();  // else a busy machine may run all that follows before any of them
  int closed = 0;
  for (int i = 0; i < 500; ++i) {
    if (!gate.Close(kLong)) continue;
    EXPECT_EQ(inside, 0);
    ++cuts;
    EXPECT_EQ(inside, 0);
    gate.Open();
    ++closed;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(closed, 500);
}

TEST(Gate, ItIsGivenUpAndOpenAgainWhenSomebodyStaysInside) {
  Gate gate;
  const int slot = gate.Enter();
  const auto begun = Clock::now();
  bool closed = true;
  std::thread closer([&] { closed = gate.Close(milliseconds(20)); });
  closer.join();
  EXPECT_FALSE(closed);
  EXPECT_GE(Clock::now() - begun, milliseconds(20));
  std::thread other([&gate] { gate.Leave(gate.Enter()); });  // not kept out any more
  other.join();
  gate.Leave(slot);
  EXPECT_TRUE(gate.Close(kLong));
  gate.Open();
}

TEST(Gate, ItClosesAsSoonAsTheLastOneLeaves) {
  Gate gate;
  const int slot = gate.Enter();
  std::atomic<bool> closed{false};
  const test::WaitingThread closer([&] {
    closed = gate.Close(kLong);
    gate.Open();
  });
  closer.ExpectAsleep();
  EXPECT_FALSE(closed);
  gate.Leave(slot);
  EXPECT_TRUE(test::WaitFor([&closed] { return closed.load(); }, seconds(5)));
}

TEST(Gate, WhoWaitsIsWokenHoweverOftenItClosesAndOpens) {
  Gate gate;
  std::atomic<bool> stop{false};
  std::vector<std::atomic<uint64_t>> passages(4);
  std::vector<std::thread> threads;
  for (auto& count : passages) {
    threads.emplace_back([&gate, &stop, &count] {
      while (!stop) {
        gate.Leave(gate.Enter());
        ++count;
      }
    });
  }
  // A lost wake-up leaves a thread asleep for as long as the gate stays open.
  for (int round = 0; round < 300; ++round) {
    if (gate.Close(milliseconds(5))) gate.Open();
    if (round % 50 != 0) continue;
    for (auto& count : passages) {
      const uint64_t before = count;
      const auto deadline = Clock::now() + milliseconds(10'000);
      while (count == before && Clock::now() < deadline) std::this_thread::yield();
      ASSERT_NE(count, before) << "a thread sleeps before an open gate";
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(Gate, MoreThreadsThanSlotsAreToldApart) {
  Gate gate;
  constexpr int kThreads = 100;
  std::atomic<int> entered{0};
  std::atomic<bool> leave{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const int slot = gate.Enter();
      ++entered;
      leave.wait(false);
      gate.Leave(slot);
    });
  }
  while (entered < kThreads) std::this_thread::yield();
  EXPECT_FALSE(gate.Close(milliseconds(1)));
  leave = true;
  leave.notify_all();
  EXPECT_TRUE(gate.Close(kLong));
  gate.Open();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tandem::meta
