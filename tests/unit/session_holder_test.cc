#include "replica/store/session_holder.h"

#include <gtest/gtest.h>

#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The clones say the same of themselves but for the run.
Hello HelloOf(const RunId& run, const std::string& source = "host:/source") {
  return {1, 1, "vol", VolumeId(1, 1), source, run};
}
const Hello kOne = HelloOf(RunId(1, 1));
const Hello kTwin = HelloOf(RunId(2, 2));

class Holder : public testing::Test {
 protected:
  Holder() { holder_.Take(kOne, connection_, now_); }
  void Ask() { holder_.EndRequest(holder_.BeginRequest(connection_, now_), now_); }
  bool Refuses(const Hello& hello) { return holder_.Refuses(hello, now_); }

  SessionHolder::Time now_ = SessionHolder::Time() + std::chrono::hours(1);
  std::shared_ptr<Connection> connection_ = std::make_shared<Connection>();
  SessionHolder holder_;
};

TEST_F(Holder, AnotherRunIsRefusedWhileTheFirstIsHeardOf) {
  for (int i = 0; i < 100; ++i) {
    now_ += seconds(2);
    Ask();
    EXPECT_TRUE(Refuses(kTwin));
    EXPECT_FALSE(Refuses(kOne)) << "it says Hello again";
  }
}

TEST_F(Holder, SilenceEndsIt) {
  now_ += kHolderSilence - milliseconds(1);
  EXPECT_TRUE(Refuses(kTwin));
  now_ += milliseconds(1);
  EXPECT_FALSE(Refuses(kTwin));
}

TEST_F(Holder, ARunStartedAfterTheFirstWasKilledGetsInAtOnce) {
  Ask();
  connection_->NoteClosed();
  EXPECT_FALSE(Refuses(kTwin));
}

// Its Hello may be quicker than the word that the old connection is closed.
TEST_F(Holder, ARunThatCameAMomentTooEarlyGetsInOnceTheConnectionIsClosed) {
  Ask();
  now_ += milliseconds(10);
  EXPECT_TRUE(Refuses(kTwin));
  connection_->NoteClosed();
  now_ += milliseconds(100);
  EXPECT_FALSE(Refuses(kTwin));
}

TEST_F(Holder, AnAnswerToADeadRunDoesNotMakeItAlive) {
  const uint64_t turn = holder_.BeginRequest(connection_, now_);
  now_ += milliseconds(10);
  EXPECT_TRUE(Refuses(kTwin));
  connection_->NoteClosed();
  now_ += seconds(1);
  holder_.EndRequest(turn, now_);
  EXPECT_FALSE(Refuses(kTwin));
}

TEST_F(Holder, ADisturbanceOfTheNetworkDoesNotLetTheTwinIn) {
  EXPECT_TRUE(Refuses(kTwin));
  now_ += seconds(2);
  Ask();  // so both are alive
  connection_->NoteClosed();
  now_ += seconds(5);
  EXPECT_TRUE(Refuses(kTwin));
  connection_ = std::make_shared<Connection>();
  Ask();
  EXPECT_TRUE(Refuses(kTwin));
  connection_->NoteClosed();
  now_ += kHolderSilence;
  EXPECT_FALSE(Refuses(kTwin)) << "it takes over once the other has ended";
}

TEST_F(Holder, WhoeverTookOverIsHeldAgainstTheFirst) {
  EXPECT_TRUE(Refuses(kTwin));
  now_ += kHolderSilence;
  connection_ = std::make_shared<Connection>();
  holder_.Take(kTwin, connection_, now_);
  EXPECT_TRUE(Refuses(kOne));
  EXPECT_FALSE(Refuses(kTwin));
}

TEST_F(Holder, ARequestThatTakesLongIsNoSilence) {
  const uint64_t turn = holder_.BeginRequest(connection_, now_);
  now_ += seconds(300);
  EXPECT_TRUE(Refuses(kTwin));
  holder_.EndRequest(turn, now_);
  EXPECT_TRUE(Refuses(kTwin));
  now_ += kHolderSilence;
  EXPECT_FALSE(Refuses(kTwin));
}

TEST_F(Holder, ARequestOfTheOneBeforeCountsForNobody) {
  const uint64_t turn = holder_.BeginRequest(connection_, now_);
  connection_->NoteClosed();
  EXPECT_FALSE(Refuses(kTwin));
  connection_ = std::make_shared<Connection>();
  holder_.Take(kTwin, connection_, now_);
  holder_.EndRequest(turn, now_);
  now_ += kHolderSilence - milliseconds(1);
  EXPECT_TRUE(Refuses(kOne));
  now_ += milliseconds(1);
  EXPECT_FALSE(Refuses(kOne));
}

TEST_F(Holder, SourcesWithoutARunAreToldApartByName) {
  EXPECT_FALSE(Refuses(HelloOf(RunId())));
  EXPECT_TRUE(Refuses(HelloOf(RunId(), "another host:/source")));
}

TEST_F(Holder, WithoutWordOfConnectionsSilenceDecides) {
  connection_ = nullptr;
  Ask();
  EXPECT_TRUE(Refuses(kTwin));
  now_ += kHolderSilence;
  EXPECT_FALSE(Refuses(kTwin));
}

}  // namespace
}  // namespace tandem::replica
