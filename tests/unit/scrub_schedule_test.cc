#include "replica/store/scrub_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace tandem::replica {
namespace {

constexpr std::chrono::hours kEvery{30 * 24};
constexpr int64_t kSeconds = std::chrono::seconds(kEvery).count();
constexpr int64_t kMade = 1'800'000'000;

TEST(ScrubSchedule, AVolumeIsDueSoLongAfterItsLastScrub) {
  EXPECT_EQ(ScrubSchedule::DueAt({"local", "v"}, kMade, kMade + 77, kEvery), kMade + 77 + kSeconds);
}

TEST(ScrubSchedule, NewVolumesAreSpreadOverTheWholeTime) {
  constexpr int kVolumes = 1000;
  std::vector<int> tenths(10);
  for (int i = 0; i < kVolumes; ++i) {
    const VolumeKey key{"local", "volume" + std::to_string(i)};
    const int64_t due = ScrubSchedule::DueAt(key, kMade, std::nullopt, kEvery);
    ASSERT_GE(due, kMade);
    ASSERT_LT(due, kMade + kSeconds);
    EXPECT_EQ(due, ScrubSchedule::DueAt(key, kMade, std::nullopt, kEvery)) << "at each start";
    ++tenths[static_cast<size_t>((due - kMade) * 10 / kSeconds)];
  }
  EXPECT_GT(std::ranges::min(tenths), kVolumes / 20);
}

}  // namespace
}  // namespace tandem::replica
