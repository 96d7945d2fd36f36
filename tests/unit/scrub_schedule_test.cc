#include "replica/store/scrub_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "replica/store/tuning.h"
#include "tests/process.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

constexpr std::chrono::hours kEvery{30 * 24};
constexpr int64_t kSeconds = std::chrono::seconds(kEvery).count();
constexpr std::chrono::milliseconds kLook = kScrubLook;
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

class ScrubScheduleOfAStore : public testing::Test {
 protected:
  void MakeVolumes(int count) {
    for (int i = 0; i < count; ++i) {
      const auto number = static_cast<uint64_t>(i + 1);
      ReplicaClient client(*store_, "v" + std::to_string(i), VolumeId(1, number));
      ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
    }
    store_->CloseIdle({});
    ASSERT_EQ(OpenVolumes(), 0U);
  }
  // Counts the catalogs that this process has open.
  size_t OpenVolumes() const {
    std::set<std::string> catalogs;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const auto path = std::filesystem::read_symlink(fd.path(), gone);
      const bool is_here = path.string().starts_with(scratch_.path() + "/");
      if (is_here && path.filename() == "replica.db") catalogs.insert(path);
    }
    return catalogs.size();
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_ = Store::Open(scratch_.path()).value();
  ScrubJobs jobs_{*store_};
};

TEST_F(ScrubScheduleOfAStore, VolumesAreOpenedAFewAtATime) {
  constexpr size_t kVolumes = 2 * kMostOpenedByLook;
  MakeVolumes(kVolumes);
  const ScrubSchedule schedule(*store_, jobs_, {.every = kEvery});
  EXPECT_TRUE(test::WaitFor([this] { return OpenVolumes() > 0; }));
  std::this_thread::sleep_for(kLook / 4);
  EXPECT_LE(OpenVolumes(), kMostOpenedByLook);
  EXPECT_TRUE(test::WaitFor([this] { return OpenVolumes() == kVolumes; })) << "all in the end";
}

TEST_F(ScrubScheduleOfAStore, AVolumeThatDoesNotOpenIsLeftAloneForATime) {
  MakeVolumes(1);
  const std::string identity = scratch_.path() + "/v0/volume";
  std::filesystem::rename(identity, identity + ".aside");
  const ScrubSchedule schedule(*store_, jobs_, {.every = kEvery});
  std::this_thread::sleep_for(kLook * 3 / 2);
  std::filesystem::rename(identity + ".aside", identity);
  std::this_thread::sleep_for(kLook * 2);
  EXPECT_EQ(OpenVolumes(), 0U);
}

}  // namespace
}  // namespace tandem::replica
