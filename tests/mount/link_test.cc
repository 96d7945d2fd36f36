// What status says of a replica while the link to it is slow, silent, or comes and goes.
#include "tests/link.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <thread>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OverALink : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    mount_.options().replicas = {"one=" + link_.url()};
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
    ASSERT_TRUE(mount_.WaitForState("current"));
  }
  uint64_t PendingBytes() {
    return mount_.ReplicaStatus().value("pending", Json::object()).value("bytes", uint64_t{0});
  }
  std::string Log() { return mount_.process().err(); }

  Link link_{replica_.url()};
};

TEST_F(OverALink, WhatIsPendingShrinksWhileItIsSentAndIsNeverNothingBeforeItIsApplied) {
  constexpr uint64_t kBytes = 24 << 20;
  link_.SetRate(4 << 20);
  Write(mount_.path() + "/file", RandomBytes(kBytes));
  ASSERT_TRUE(WaitFor([&] { return PendingBytes() > kBytes / 2; })) << mount_.Status().dump(2);
  uint64_t between = 0;
  bool applied = false;
  ASSERT_TRUE(WaitFor([&] {
    const Json status = mount_.Status();
    if (!status.is_object()) return false;  // it did not answer in time
    const Json& replica = status["replicas"][0];
    const Json& pending = replica["pending"];
    EXPECT_EQ(status["pending"], pending);
    const uint64_t bytes = pending.value("bytes", uint64_t{0});
    if (bytes > kBytes / 8 && bytes < kBytes * 7 / 8) between = bytes;
    applied = pending.value("objects", uint64_t{1}) == 0;
    return applied;
  })) << mount_.Status().dump(2);
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
  EXPECT_GT(between, 0u);
}

TEST_F(OverALink, PendingIsToldForEachReplica) {
  ReplicaDaemon second{scratch_, "second"};
  ASSERT_TRUE(second.Start());
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas = {"one=" + link_.url(), "two=" + second.url()};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("pause", {"--replica", "one"}).code, 0);
  Write(mount_.path() + "/file", RandomBytes(100'000));
  ASSERT_TRUE(mount_.Sync(60, "two"));
  const Json nothing = {{"bytes", 0}, {"ranges", 0}, {"entries", 0}, {"objects", 0}};
  EXPECT_TRUE(WaitFor([&] { return mount_.ReplicaStatus(1)["pending"] == nothing; }));
  const Json status = mount_.Status();
  EXPECT_GE(status["replicas"][0]["pending"]["bytes"], 100'000u);
  EXPECT_EQ(status["pending"], status["replicas"][0]["pending"]);
  EXPECT_THAT(mount_.Tandem("status").out, HasSubstr("    pending: "));
}

TEST_F(OverALink, NoReplicaIsCalledCurrentThatIsFarBehind) {
  constexpr uint64_t kBytes = 96 << 20;
  link_.SetRate(8 << 20);
  const size_t logged = Log().size();
  Write(mount_.path() + "/file", RandomBytes(kBytes));
  ASSERT_TRUE(WaitFor([&] {
    const Json replica = mount_.ReplicaStatus();
    const uint64_t bytes = replica["pending"].value("bytes", kBytes);
    if (bytes > kBytes / 2) {
      EXPECT_NE(replica["state"], "current") << replica.dump(2);
    }
    if (bytes < kBytes / 4) link_.SetRate(0);
    return replica["pending"].value("objects", uint64_t{1}) == 0;
  })) << mount_.Status().dump(2);
  ASSERT_TRUE(mount_.WaitForState("current"));
  ASSERT_TRUE(WaitFor([&] {
    return Log().substr(logged).find("replica one: current") != std::string::npos;
  })) << Log();
  const std::string said = Log().substr(logged);
  EXPECT_LT(said.find("replica one: catching-up"), said.find("replica one: current")) << said;
}

TEST_F(OverALink, SilenceIsToldWithinSecondsAndIsOverWhenBytesFlow) {
  Write(mount_.path() + "/file", RandomBytes(1 << 20));
  ASSERT_TRUE(mount_.Sync());
  const auto silent_since = Clock::now();
  link_.SetSilent(true);
  Write(mount_.path() + "/more", RandomBytes(64 << 20));
  ASSERT_TRUE(WaitFor([&] { return mount_.State() == "connecting"; }, seconds(20)));
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr("nothing heard from " + link_.url() + " for "));
  EXPECT_GE(Clock::now() - silent_since, seconds(3));
  link_.SetRate(8 << 20);
  link_.SetSilent(false);
  ASSERT_TRUE(WaitFor([&] { return mount_.State() != "connecting"; }));
  EXPECT_TRUE(WaitFor([&] {
    const Json replica = mount_.ReplicaStatus();
    EXPECT_NE(replica["state"], "connecting") << replica.dump(2);
    return replica["pending"].value("objects", uint64_t{1}) == 0;
  }));
  EXPECT_TRUE(Converges());
}

// Nothing is asked of a replica that has nothing to do, but before status speaks of it.
TEST_F(OverALink, TheFirstStatusAfterALongRestKnowsOfTheSilence) {
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.State(), "current");
  const auto silent_since = Clock::now();
  link_.SetSilent(true);
  ASSERT_TRUE(WaitFor([&] { return Clock::now() - silent_since > seconds(5); }));
  EXPECT_EQ(mount_.State(), "connecting");
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr("nothing heard from " + link_.url() + " for "));
  link_.SetSilent(false);
  EXPECT_TRUE(mount_.WaitForState("current"));
}

// The kernel tries to connect ever more seldom, and nng waits for it.
TEST_F(OverALink, AfterALongSilenceItIsConnectedWithinSeconds) {
  link_.SetSilent(true);
  link_.Cut();
  const auto silent_since = Clock::now();
  ASSERT_TRUE(WaitFor([&] { return mount_.State() == "connecting"; }, seconds(20)));
  EXPECT_TRUE(WaitFor([&] { return mount_.ReplicaError().find("is silent") != std::string::npos; }))
      << mount_.ReplicaError();
  // Left alone, the kernel's next attempt comes 31 seconds after the first, or 35.
  ASSERT_TRUE(WaitFor([&] { return Clock::now() - silent_since > seconds(22); }));
  link_.SetSilent(false);
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_LT(Clock::now() - silent_since, seconds(30)) << Log();
}

// One message takes longer than silence is borne.
TEST_F(OverALink, ASlowLinkIsNotSilent) {
  link_.SetRate(150 << 10);
  Write(mount_.path() + "/file", RandomBytes(3 << 20));
  ASSERT_TRUE(WaitFor([&] { return PendingBytes() != 0; }));
  EXPECT_TRUE(WaitFor([&] {
    const Json replica = mount_.ReplicaStatus();
    EXPECT_NE(replica["state"], "connecting") << replica.dump(2);
    return replica["pending"].value("objects", uint64_t{1}) == 0;
  })) << mount_.Status().dump(2);
}

TEST_F(OverALink, ALinkThatComesAndGoesIsUsedAsSoonAsItStays) {
  for (int round = 0; round < 12; ++round) {
    Write(mount_.path() + "/file" + std::to_string(round), RandomBytes(4 << 20));
    std::this_thread::sleep_for(milliseconds(700));
    link_.Cut();
  }
  const auto stable_since = Clock::now();
  EXPECT_TRUE(mount_.Sync(120));
  const auto took = std::chrono::duration_cast<seconds>(Clock::now() - stable_since);
  EXPECT_LT(took, seconds(25)) << Log();
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
}

}  // namespace
}  // namespace tandem::test
