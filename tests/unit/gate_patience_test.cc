// Cuts come however slow operations are: by patience that grows.
#include "meta/capture/gate_patience.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "meta/capture/gate.h"
#include "tests/process.h"

namespace tandem::meta {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

TEST(GatePatience, TheFirstTryIsShortAndEachFurtherOneTwiceAsLong) {
  GatePatience tries;
  EXPECT_EQ(tries.patience(), GatePatience::kFirst);
  EXPECT_TRUE(tries.IsShort());
  milliseconds paused{0};
  for (microseconds before = tries.patience(); before < std::chrono::minutes(10);
       before = tries.patience()) {
    paused += tries.Failed();
    EXPECT_EQ(tries.patience(), 2 * before);
  }
  EXPECT_FALSE(tries.IsShort());
  EXPECT_LT(paused, std::chrono::seconds(3));
}

// Of four threads one is always inside, for longer than the first tries are.
TEST(GatePatience, OutlastsOperationsThatOverlapForEver) {
  Gate gate;
  std::atomic<bool> stop{false};
  std::atomic<int> inside{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        const int slot = gate.Enter();
        ++inside;
        // Not before another one has come, or the gate keeps it out.
        const auto begun = Clock::now();
        while (!stop && Clock::now() - begun < milliseconds(80)) {
          std::this_thread::sleep_for(milliseconds(1));
        }
        --inside;
        gate.Leave(slot);
      }
    });
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_FALSE(gate.Close(GatePatience::kFirst));
  int cuts = 0;
  const auto deadline = Clock::now() + test::kPatience;
  for (GatePatience tries; cuts == 0 && Clock::now() < deadline;) {
    if (gate.Close(tries.patience())) {
      EXPECT_EQ(inside, 0);
      ++cuts;
      gate.Open();
    } else {
      std::this_thread::sleep_for(tries.Failed());
    }
  }
  EXPECT_EQ(cuts, 1);
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tandem::meta
