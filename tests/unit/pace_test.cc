#include "replica/source/pace.h"

#include <gtest/gtest.h>

#include <deque>

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A link that carries so many bytes a second, and a source that keeps it filled.
class Link {
 public:
  explicit Link(double bytes_per_second, Pace::Clock::duration way = {})
      : bytes_per_second_(bytes_per_second), way_(way) {}

  // Sends for `time`. Returns the longest time without an answer in its second half.
  Pace::Clock::duration Send(Pace& pace, Pace::Clock::duration time) {
    Pace::Clock::duration longest{};
    const auto end = now_ + time;
    auto last = now_;
    while (now_ < end) {
      while (under_way_.empty() || under_way_bytes_ + pace.chunk_bytes() <= pace.window()) {
        const size_t bytes = pace.chunk_bytes();
        under_way_bytes_ += bytes;
        free_at_ = std::max(free_at_, now_) + Time(bytes);
        under_way_.push_back({now_, free_at_ + way_, bytes, under_way_bytes_});
      }
      const Sent oldest = under_way_.front();
      under_way_.pop_front();
      under_way_bytes_ -= oldest.bytes;
      now_ = std::max(now_, oldest.answered);
      if (end - now_ < time / 2) longest = std::max(longest, now_ - last);
      last = now_;
      pace.Answered(oldest.at, oldest.answered - oldest.at, oldest.under_way);
    }
    return longest;
  }
  void SetRate(double bytes_per_second) { bytes_per_second_ = bytes_per_second; }

 private:
  struct Sent {
    Pace::Clock::time_point at, answered;
    size_t bytes, under_way;
  };
  Pace::Clock::duration Time(size_t bytes) const {
    return std::chrono::duration_cast<Pace::Clock::duration>(
        std::chrono::duration<double>(static_cast<double>(bytes) / bytes_per_second_));
  }

  double bytes_per_second_;
  const Pace::Clock::duration way_;  // there and back
  Pace::Clock::time_point now_{seconds(1)};
  Pace::Clock::time_point free_at_;
  std::deque<Sent> under_way_;
  size_t under_way_bytes_ = 0;
};

TEST(Pace, ALongAndFastLinkIsFilled) {
  Pace pace;
  Link link(1e9, milliseconds(50));
  link.Send(pace, seconds(5));
  EXPECT_EQ(pace.window(), kLargestWindow);
  EXPECT_EQ(pace.chunk_bytes(), kChunkBytes);
}

// All of that would have to be sent again if the session ended.
TEST(Pace, OverAShortOrSlowLinkNoMoreIsUnderWayThanFillsIt) {
  for (const double rate : {1e7, 1e8, 1e9, 1e10}) {
    Pace pace;
    Link link(rate, std::chrono::microseconds(100));
    link.Send(pace, seconds(5));
    EXPECT_EQ(pace.window(), kUsualWindow) << rate;
  }
  Pace pace;
  Link link(2e6, milliseconds(50));
  link.Send(pace, seconds(5));
  EXPECT_EQ(pace.window(), kUsualWindow);
}

TEST(Pace, TheNextSessionMayGoALongerWay) {
  Pace pace;
  Link near(1e9, std::chrono::microseconds(100));
  near.Send(pace, seconds(5));
  pace.BeginSession();
  Link far(1e9, milliseconds(50));
  far.Send(pace, seconds(5));
  EXPECT_EQ(pace.window(), kLargestWindow);
}

TEST(Pace, OverASlowLinkAnswersComeSteadily) {
  for (const double rate : {16e3, 64e3, 125e3, 1e6}) {
    Pace pace;
    Link link(rate);
    EXPECT_LT(link.Send(pace, seconds(120)), kAnswerIsLate) << rate;
    EXPECT_GE(static_cast<double>(pace.window()), std::min(rate / 2, 1e6)) << "it is filled";
  }
}

TEST(Pace, ALinkThatBecomesSlowIsFollowed) {
  Pace pace;
  Link link(100e6);
  link.Send(pace, seconds(5));
  link.SetRate(125e3);
  EXPECT_LT(link.Send(pace, seconds(300)), kAnswerIsLate);
  link.SetRate(100e6);
  link.Send(pace, seconds(5));
  EXPECT_EQ(pace.window(), kUsualWindow);
}

TEST(Pace, SmallChangesProveNothingOfTheLink) {
  Pace pace;
  for (int i = 1; i < 100; ++i) {
    pace.Answered(Pace::Clock::time_point(seconds(i)), milliseconds(20), 4096);
  }
  EXPECT_EQ(pace.window(), kFirstWindow);
}

TEST(Pace, WhatCompressesWellGoesInLargeChunks) {
  Pace pace;
  EXPECT_EQ(pace.chunk_bytes(), kFirstWindow / 4);
  pace.Compressed(64 << 10, 64);
  EXPECT_EQ(pace.chunk_bytes(), kChunkBytes);
  pace.Compressed(kChunkBytes, kChunkBytes);
  EXPECT_EQ(pace.chunk_bytes(), kFirstWindow / 4);
}

TEST(Pace, WithoutAnswersTheLeastIsSent) {
  Pace pace;
  for (int i = 0; i < 10; ++i) pace.Lost(Pace::Clock::now());
  EXPECT_EQ(pace.window(), kLeastWindow);
  EXPECT_EQ(pace.chunk_bytes(), kLeastChunkBytes);
  // Whatever comes next arrives over 128 kbit/s before the answer is given up.
  constexpr uint64_t kInTime = 16'000 * kAnswerTimeout / seconds(1);
  EXPECT_LE(pace.delta_bytes(), kInTime);
  pace.Compressed(64 << 10, 64);
  EXPECT_LE(pace.chunk_bytes(), kInTime);
}

}  // namespace
}  // namespace tandem::replica
