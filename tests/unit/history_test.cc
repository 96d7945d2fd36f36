// What is kept of the last hour and day, and the events that follow from it.
#include "tools/status/history.h"

#include <gmock/gmock.h>

#include <future>
#include <memory>

#include "tools/status/events.h"

namespace tandem::tools {
namespace {

using replica::ReplicaState;
using replica::ReplicaStatus;

ReplicaStatus Replica(const std::string& name, ReplicaState state, double lag = 0,
                      uint64_t sent = 0) {
  ReplicaStatus status;
  status.name = name;
  status.state = state;
  status.lag_seconds = lag;
  status.sent_bytes = sent;
  return status;
}

class HistoryTest : public ::testing::Test {
 protected:
  void Take(double lag, uint64_t sent, int64_t time) {
    history_->Take({Replica("a", ReplicaState::kCurrent, lag, sent)}, time);
  }
  // Its own thread takes no sample before the end.
  void TearDown() override {
    ended_.set_value();
    history_.reset();
  }
  std::promise<void> ended_;
  std::unique_ptr<History> history_ = std::make_unique<History>(
      [ended = ended_.get_future().share()] {
        ended.wait();
        return std::vector<ReplicaStatus>();
      },
      [](const auto&) {});
};

TEST_F(HistoryTest, KeepsAnHourAndADay) {
  constexpr int64_t kBegin = 300'000'000;
  for (int64_t i = 0; i < 9000; ++i) Take(i == 8000 ? 7 : 1, 0, kBegin + 10 * i);
  const History::OfReplica kept = history_->Of("a");
  EXPECT_EQ(kept.hour.size(), 360u);
  EXPECT_EQ(kept.day.size(), 288u);
  EXPECT_EQ(kept.hour.back().time, kBegin + 89'990);
  double worst = 0;
  for (const auto& sample : kept.day) worst = std::max(worst, sample.lag_seconds);
  EXPECT_EQ(worst, 7) << "a short lag shows in the day, too";
}

TEST_F(HistoryTest, TellsRateWorstLagAndTimeToGo) {
  const int64_t now = time(nullptr);
  Take(5, 1000, now - 20);
  Take(1, 1500, now - 10);
  ReplicaStatus status = Replica("a", ReplicaState::kCatchingUp, 2, 3000);
  status.pending.bytes = 1000;
  const History::Summary summary = history_->Summarize(status);
  EXPECT_EQ(summary.worst_lag, 5);
  EXPECT_GT(summary.rate, 20);
  EXPECT_GT(summary.eta, 0);
  EXPECT_LT(history_->Summarize(Replica("unknown", ReplicaState::kCurrent)).eta, 0);
}

TEST(EventsTest, TellOfStatesLagAndTheSetOfReplicas) {
  Events events;
  events.Observe({Replica("a", ReplicaState::kSeeding)});
  events.Observe({Replica("a", ReplicaState::kCurrent), Replica("b", ReplicaState::kBlocked, 90)});
  events.Observe({Replica("b", ReplicaState::kBlocked, 90)});
  std::string all;
  for (const auto& event : events.Wait(0, CondVar::Clock::now()).events) {
    all += event["event"].get<std::string>() + " " + event["replica"].get<std::string>() + ", ";
  }
  EXPECT_EQ(all, "replica a, state a, state a, replica b, state b, lag b, replica a, ");
}

TEST(EventsTest, AreNumberedAndTheOldestAreDropped) {
  Events events;
  for (size_t i = 0; i < Events::kMost + 5; ++i) events.Add({{"event", "verify"}});
  const Events::Read read = events.Wait(1, CondVar::Clock::now());
  EXPECT_EQ(read.events.size(), Events::kMost);
  EXPECT_EQ(read.events.front()["number"], 6);
  EXPECT_EQ(read.next, Events::kMost + 6);
  EXPECT_TRUE(events.Wait(read.next, CondVar::Clock::now()).events.empty());
}

}  // namespace
}  // namespace tandem::tools
