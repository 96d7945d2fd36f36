#include "meta/capture/sync_cadence.h"

#include <gtest/gtest.h>

namespace tandem::meta {
namespace {

constexpr uint64_t kLittle = 1 << 20;
constexpr uint64_t kMuch = SyncCadence::kMuchWritten + 1;

class SyncCadenceTest : public testing::Test {
 protected:
  // When the next sync comes while so much is written in each window, counted from the last one.
  std::chrono::seconds NextSync(uint64_t written) {
    const auto last = now_;
    do {
      now_ = cadence_.next();
    } while (!cadence_.MustSync(now_, written));
    cadence_.SyncEnded(now_);
    return std::chrono::duration_cast<std::chrono::seconds>(now_ - last);
  }

  SyncCadence::TimePoint now_;
  SyncCadence cadence_{now_};
};

TEST_F(SyncCadenceTest, LittleIsSyncedInEachWindow) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(NextSync(kLittle), SyncCadence::kWindow);
}

TEST_F(SyncCadenceTest, MuchIsSyncedInTheLongestWindow) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(NextSync(kMuch), SyncCadence::kLongestWindow);
}

TEST_F(SyncCadenceTest, APauseOfTheWritersIsMadeUseOf) {
  now_ = cadence_.next();
  EXPECT_FALSE(cadence_.MustSync(now_, kMuch));
  EXPECT_EQ(NextSync(0), SyncCadence::kWindow);
}

TEST_F(SyncCadenceTest, ALongSyncIsFollowedByAWholeWindow) {
  now_ = cadence_.next();
  ASSERT_TRUE(cadence_.MustSync(now_, kLittle));
  now_ += std::chrono::minutes(2);
  cadence_.SyncEnded(now_);
  EXPECT_EQ(NextSync(kLittle), SyncCadence::kWindow);
}

}  // namespace
}  // namespace tandem::meta
