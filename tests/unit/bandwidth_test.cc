#include "replica/source/bandwidth.h"

#include <gmock/gmock.h>

#include <thread>

namespace tandem::replica {
namespace {

uint64_t At(const std::string& text, int hour, int minute = 0) {
  const auto schedule = BandwidthSchedule::Parse(text);
  EXPECT_TRUE(schedule) << schedule.error().ToString();
  return schedule ? schedule->At(hour * 60 + minute) : ~uint64_t{0};
}

TEST(Bandwidth, OneNumberHoldsAllDay) {
  EXPECT_EQ(At("2M", 0), 2u << 20);
  EXPECT_EQ(At("5000", 23, 59), 5000u);
  EXPECT_EQ(At("8kiB", 12), 8192u);
  EXPECT_EQ(At("", 12), 0u);
  EXPECT_EQ(At("0", 12), 0u);
}

TEST(Bandwidth, TheFirstSpanThatHasTheTimeCounts) {
  const std::string text = "08:00-18:00=2M,12:00-13:00=1M,*=8M";
  EXPECT_EQ(At(text, 8), 2u << 20);
  EXPECT_EQ(At(text, 12, 30), 2u << 20);
  EXPECT_EQ(At(text, 18), 8u << 20);
  EXPECT_EQ(At(text, 7, 59), 8u << 20);
  EXPECT_EQ(At("08:00-18:00=2M", 20), 0u) << "no limit";
}

TEST(Bandwidth, ASpanMayGoOverMidnight) {
  EXPECT_EQ(At("22:00-06:00=0,*=1M", 23), 0u);
  EXPECT_EQ(At("22:00-06:00=0,*=1M", 5, 59), 0u);
  EXPECT_EQ(At("22:00-06:00=0,*=1M", 6), 1u << 20);
  EXPECT_EQ(At("00:00-24:00=5K", 23, 59), 5u << 10);
}

TEST(Bandwidth, WhatIsNoScheduleIsRefused) {
  for (const std::string text : {"fast",
                                 "100",
                                 "2X",
                                 "-1",
                                 "1.5M",
                                 "08:00=1M",
                                 "8:00-18:00=1M",
                                 "08:00-25:00=1M",
                                 "08:60-09:00=1M",
                                 "08:00-08:00=1M",
                                 "=1M",
                                 "*=",
                                 "1M,",
                                 ",",
                                 "99999999999999999999",
                                 "99999999999999999T",
                                 "08:00-18:00",
                                 "1MB1",
                                 "1 M",
                                 "08:00-+9:00=1M"}) {
    const auto schedule = BandwidthSchedule::Parse(text);
    ASSERT_FALSE(schedule) << text;
    EXPECT_EQ(schedule.error().kind(), ErrorKind::kUsage);
    EXPECT_THAT(schedule.error().ToString(), ::testing::HasSubstr("\"" + text + "\""));
  }
}

TEST(Bandwidth, WhatWaitsGoesOnWhenTheLimitIsLifted) {
  BandwidthLimit limit;
  limit.Set(BandwidthSchedule::Parse("4K").value());
  ASSERT_TRUE(limit.Take(uint64_t{1} << 40));  // the next waits for years
  std::thread waits([&limit] { EXPECT_TRUE(limit.Take(1)); });
  limit.Set(BandwidthSchedule());
  waits.join();
}

TEST(Bandwidth, NothingWaitsWhileTheSenderIsPausedOrStops) {
  BandwidthLimit limit;
  limit.Set(BandwidthSchedule::Parse("4K").value());
  ASSERT_TRUE(limit.Take(uint64_t{1} << 40));
  std::thread waits([&limit] { EXPECT_EQ(limit.Take(1).error().kind(), ErrorKind::kCancelled); });
  limit.SetPaused(true);
  waits.join();
  limit.SetPaused(false);
  std::thread stops([&limit] { EXPECT_FALSE(limit.Take(1)); });
  limit.Stop();
  stops.join();
}

}  // namespace
}  // namespace tandem::replica
