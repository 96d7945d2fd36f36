// A source and its replica on two hosts, and what happens on the way between them. After each
// fault the replica is connected again within seconds, and equal to the source; meanwhile status
// does not call it current.
#include <gmock/gmock.h>

#include <iostream>
#include <thread>

#include "tests/files.h"
#include "tests/network_fixture.h"
#include "tests/ssh_server.h"

namespace tandem::test {
namespace {

// From the end of a fault to `current`.
constexpr seconds kBackWithin{5};
// A replica that cannot be reached for longer is not called current.
constexpr seconds kNoticedWithin{6};

class BetweenHosts : public NetworkTest {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    if (IsSkipped()) return;
    cable_ = std::make_unique<Cable>();
    replica_.Move(cable_->far().Within(),
                  "tcp://" + std::string(Cable::kFar) + ":" + std::to_string(kPort));
    replica_.more() = {"--insecure-plaintext"};
    mount_.options().under = cable_->near().Within();
    mount_.options().replicas = {"one=" + replica_.url()};
    Write(source_ + "/file", "content");
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
    ASSERT_TRUE(mount_.WaitForState("current"));
  }

  // Lets the replica be out of reach for a while, with a change to be sent at the beginning and
  // another towards the end. `time` is longer than kNoticedWithin.
  void BeCutOff(milliseconds time) {
    const auto since = Clock::now();
    Write(mount_.path() + "/changed", RandomBytes(100'000, ++changes_));
    while (Clock::now() - since < time) {
      const auto asked = Clock::now();
      const std::string state = mount_.State();
      if (asked - since > kNoticedWithin) {
        EXPECT_NE(state, "current") << std::chrono::duration_cast<milliseconds>(asked - since);
      }
      std::this_thread::sleep_for(milliseconds(100));
    }
    EXPECT_EQ(mount_.State(), "connecting");
    EXPECT_NE(mount_.ReplicaError(), "");
    Write(mount_.path() + "/changed-later", RandomBytes(100'000, ++changes_));
  }
  // The fault has just ended.
  void ExpectBack() {
    const auto since = Clock::now();
    EXPECT_TRUE(mount_.WaitForState("current"));
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - since);
    EXPECT_LT(took, kBackWithin) << mount_.process().err();
    std::cout << "current after " << took.count() << " ms\n";
    EXPECT_TRUE(Converges());
    EXPECT_EQ(mount_.Verify().code, 0);
  }

  // What a fault lasts at least: longer than status takes to notice.
  static milliseconds Outage() { return seconds(Times(8, 40)); }

  std::unique_ptr<Cable> cable_;
  uint64_t changes_ = 0;
};

TEST_F(BetweenHosts, ACableIsPulledAndPluggedIn) {
  cable_->Pull();
  BeCutOff(Outage());
  cable_->PlugIn();
  ExpectBack();
}

TEST_F(BetweenHosts, AnswersAreLostOnTheWay) {
  cable_->LoseAnswers();
  BeCutOff(Outage());
  cable_->Heal();
  ExpectBack();
}

TEST_F(BetweenHosts, TheReplicaHasAnotherAddressForAWhile) {
  cable_->SetFarAddress(Cable::kFar, "10.77.0.3");
  BeCutOff(Outage());
  cable_->SetFarAddress("10.77.0.3", Cable::kFar);
  ExpectBack();
}

TEST_F(BetweenHosts, ConnectionsAreResetInTheMiddleOfATransfer) {
  cable_->SetRate("64mbit");
  const int rounds = Times(3, 30);
  for (int round = 0; round < rounds; ++round) {
    const uint64_t sent = mount_.SentBytes();
    Write(mount_.path() + "/large" + std::to_string(round % 3), RandomBytes(12 << 20, ++changes_));
    ASSERT_TRUE(WaitFor([&] { return mount_.SentBytes() > sent + (2 << 20); }));
    cable_->Reset(kPort);
    std::this_thread::sleep_for(milliseconds(300));
    cable_->Heal();
  }
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
  ExpectBack();
}

TEST_F(BetweenHosts, ALinkThatFlapsEverySecondIsUsedWhileItIsUp) {
  const int seconds_of_it = Times(6, 120);
  for (int second = 0; second < seconds_of_it; ++second) {
    Write(mount_.path() + "/file" + std::to_string(second), RandomBytes(1 << 20, ++changes_));
    if (second % 2 == 0) {
      cable_->Pull();
    } else {
      cable_->PlugIn();
    }
    std::this_thread::sleep_for(seconds(1));
  }
  cable_->PlugIn();
  ExpectBack();
}

TEST_F(BetweenHosts, ASlowLinkCarriesItAllAndIsNotCalledCurrentMeanwhile) {
  cable_->SetRate("16mbit");
  constexpr uint64_t kBytes = 8 << 20;
  Write(mount_.path() + "/large", RandomBytes(kBytes, ++changes_));
  const auto since = Clock::now();
  EXPECT_TRUE(WaitFor([&] {
    const Json replica = mount_.ReplicaStatus();
    const uint64_t objects = replica["pending"].value("objects", uint64_t{1});
    EXPECT_NE(replica.value("state", ""), "connecting") << replica.dump(2);
    return objects == 0;
  }));
  EXPECT_GT(Clock::now() - since, seconds(3)) << "8 MiB at 16 Mbit/s";
  ExpectBack();
}

class BetweenHostsThroughSsh : public BetweenHosts {
 protected:
  void SetUp() override {
    if (!SshServer::IsInstalled()) GTEST_SKIP() << "sshd is not there: install openssh-server";
    BetweenHosts::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string socket = scratch_.Path("tandemd.sock");
    server_ = std::make_unique<SshServer>(scratch_, Cable::kFar, cable_->far().Within());
    ASSERT_TRUE(server_->Start());
    ASSERT_TRUE(mount_.Unmount());
    ASSERT_TRUE(replica_.Stop());
    replica_.more() = {"--insecure-plaintext", "--listen", "ipc://" + socket};
    ASSERT_TRUE(replica_.Start());
    mount_.options().replicas = {"one=ssh://backup" + socket};
    mount_.options().environment = server_->ClientEnvironment();
    ASSERT_TRUE(mount_.Start());
    ASSERT_TRUE(mount_.Sync());
    ASSERT_TRUE(mount_.WaitForState("current"));
  }

  std::unique_ptr<SshServer> server_;
};

TEST_F(BetweenHostsThroughSsh, ACableIsPulledAndPluggedIn) {
  cable_->Pull();
  BeCutOff(Outage());
  cable_->PlugIn();
  ExpectBack();
}

TEST_F(BetweenHostsThroughSsh, ASlowLinkCarriesItAll) {
  cable_->SetRate("16mbit");
  Write(mount_.path() + "/large", RandomBytes(8 << 20, ++changes_));
  EXPECT_TRUE(WaitFor(
      [&] { return mount_.ReplicaStatus()["pending"].value("objects", uint64_t{1}) == 0; }));
  ExpectBack();
}

}  // namespace
}  // namespace tandem::test
