// A source and three replicas, each on a host of its own, paired by invitations, with another fault
// on each link at the same time. What status says is held against the replicas' disks throughout;
// what one link meets delays no other; when the links are back, so are the replicas, and the same.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <functional>
#include <iostream>
#include <thread>

#include "tests/files.h"
#include "tests/network_fixture.h"
#include "tests/status_watch.h"

namespace tandem::test {
namespace {

constexpr size_t kReplicas = 3;
constexpr std::array<const char*, kReplicas> kNames = {"one", "two", "three"};
// A sync with a replica that nothing is wrong with. It takes some tens of milliseconds.
constexpr seconds kQuick{4};

using LinkState = StatusWatch::LinkState;

struct BackupHost {
  Cable cable;
  ReplicaDaemon daemon;
};

struct Trouble {
  const char* name;
  LinkState leaves;
  std::function<void(BackupHost&)> begin;
  std::function<void(BackupHost&)> end;
  std::function<void(BackupHost&, int second)> each_second = {};
};

const Trouble kPulled = {"pulled", LinkState::kDown, [](BackupHost& host) { host.cable.Pull(); },
                         [](BackupHost& host) { host.cable.PlugIn(); }};
const Trouble kAnswersLost = {"answers lost", LinkState::kDown,
                              [](BackupHost& host) { host.cable.LoseAnswers(); },
                              [](BackupHost& host) { host.cable.Heal(); }};
const Trouble kRequestsLost = {"requests lost", LinkState::kDown,
                               [](BackupHost& host) { host.cable.LoseRequests(); },
                               [](BackupHost& host) { host.cable.Heal(); }};
const Trouble kSlow = {"slow", LinkState::kUp,
                       [](BackupHost& host) { host.cable.SetRate("2mbit"); },
                       [](BackupHost& host) { host.cable.EndRate(); }};
const Trouble kNone = {"nothing", LinkState::kUp, [](BackupHost&) {}, [](BackupHost&) {}};
const Trouble kMoved = {
    "another address", LinkState::kDown,
    [](BackupHost& host) { host.cable.SetFarAddress(host.cable.far_address(), "10.77.99.2"); },
    [](BackupHost& host) { host.cable.SetFarAddress("10.77.99.2", host.cable.far_address()); }};
const Trouble kFlapping = {"flapping", LinkState::kUnsteady, [](BackupHost&) {},
                           [](BackupHost& host) { host.cable.PlugIn(); },
                           [](BackupHost& host, int second) {
                             if (second % 2 == 0) {
                               host.cable.Pull();
                             } else {
                               host.cable.PlugIn();
                             }
                           }};
const Trouble kResets = {"resets", LinkState::kUnsteady, [](BackupHost&) {},
                         [](BackupHost& host) { host.cable.Heal(); },
                         [](BackupHost& host, int second) {
                           if (second % 2 == 0) {
                             host.cable.Reset(kPort);
                           } else {
                             host.cable.Heal();
                           }
                         }};
const Trouble kKilled = {"daemon killed", LinkState::kKilled, [](BackupHost&) {},
                         [](BackupHost& host) {
                           host.daemon.Kill();
                           EXPECT_TRUE(host.daemon.Start());
                         },
                         [](BackupHost& host, int second) {
                           host.daemon.Kill();
                           if (second % 3 == 0) return;
                           EXPECT_TRUE(host.daemon.Start());
                         }};

class FourHosts : public NetworkTest {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    if (IsSkipped()) return;
    mount_.options().under = source_host_->Within();
    mount_.options().environment["TANDEM_KEYS"] = scratch_.Path("keys");
    mount_.options().replicas.clear();
    Write(source_ + "/file", "content");
    for (size_t i = 0; i < kReplicas; ++i) {
      hosts_.push_back(std::unique_ptr<BackupHost>(new BackupHost{
          Cable(source_host_, static_cast<int>(i) + 1), ReplicaDaemon(scratch_, kNames[i])}));
      ASSERT_TRUE(StartDaemon(i));
      mount_.options().replicas.push_back(std::string(kNames[i]) + "=@" + Invite(i));
    }
    ASSERT_TRUE(mount_.Start());
    ASSERT_TRUE(mount_.Sync());
  }

  ::testing::AssertionResult StartDaemon(size_t i) {
    hosts_[i]->daemon.more() = {"--trusted-attributes"};
    hosts_[i]->daemon.Move(hosts_[i]->cable.far().Within(), "tls://" + AddressOf(i));
    return hosts_[i]->daemon.Start();
  }
  std::string AddressOf(size_t i) const {
    return hosts_[i]->cable.far_address() + ":" + std::to_string(kPort);
  }
  // Returns the file with the token.
  std::string Invite(size_t i) {
    std::string file = scratch_.Path(std::string("token-") + kNames[i]);
    EXPECT_TRUE(hosts_[i]->daemon.Invite(AddressOf(i), file));
    return file;
  }
  static std::string Volume() { return std::string("alice/") + kVolume; }
  std::vector<std::string> Volumes() const {
    std::vector<std::string> volumes;
    for (const auto& host : hosts_) volumes.push_back(host->daemon.store() + "/" + Volume());
    return volumes;
  }

  // Lets each link have its trouble for a while, all at once; then waits until all are back.
  void Suffer(const std::array<const Trouble*, kReplicas>& troubles, seconds time,
              StatusWatch& watch) {
    for (size_t i = 0; i < kReplicas; ++i) {
      std::cout << kNames[i] << ": " << troubles[i]->name << "\n";
      if (troubles[i]->leaves != LinkState::kUp) watch.SetLink(i, troubles[i]->leaves);
      troubles[i]->begin(*hosts_[i]);
    }
    const auto begun = Clock::now();
    for (int second = 0; Clock::now() - begun < time; ++second) {
      for (size_t i = 0; i < kReplicas; ++i) {
        if (troubles[i]->each_second) troubles[i]->each_second(*hosts_[i], second);
      }
      for (size_t i = 0; i < kReplicas; ++i) {
        if (troubles[i] == &kNone) ExpectQuickSync(i);
      }
      std::this_thread::sleep_until(begun + seconds(second + 1));
    }
    for (size_t i = 0; i < kReplicas; ++i) {
      troubles[i]->end(*hosts_[i]);
      watch.SetLink(i, LinkState::kUp);
    }
    for (size_t i = 0; i < kReplicas; ++i) ExpectBack(i);
  }

  void ExpectQuickSync(size_t i) {
    const auto begun = Clock::now();
    const Outcome synced = mount_.Tandem(
        "sync", {"--replica", kNames[i], "--timeout", std::to_string(2 * kQuick.count())});
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
    EXPECT_EQ(synced.code, 0) << synced;
    EXPECT_LT(took, kQuick) << "replica " << kNames[i];
    longest_sync_ = std::max(longest_sync_, took);
  }
  // Its link has just come back.
  void ExpectBack(size_t i) {
    const auto since = Clock::now();
    EXPECT_TRUE(WaitFor([&] { return mount_.State(i) != "connecting"; }));
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - since);
    EXPECT_LT(took, StatusWatch::kBackWithin) << kNames[i] << "\n" << mount_.process().err();
    std::cout << kNames[i] << ": connected after " << took.count() << " ms\n";
  }
  void ExpectAllSame() {
    ASSERT_TRUE(mount_.Sync());
    for (const auto& host : hosts_) EXPECT_TRUE(SameTrees(source_, host->daemon.tree(Volume())));
    const Outcome verified = mount_.Verify({"--full"});
    EXPECT_EQ(verified.code, 0) << verified;
    for (size_t i = 0; i < kReplicas; ++i) EXPECT_TRUE(mount_.WaitForState("current", i));
  }
  // All troubles of `rounds`, one after the other, while programs work on the mount.
  void SufferThrough(const std::vector<std::array<const Trouble*, kReplicas>>& rounds,
                     seconds time) {
    StatusWatch watch(mount_, Volumes());
    ASSERT_TRUE(mount_.Sync());
    watch.Begin();
    mkdir((mount_.path() + "/work").c_str(), 0755);
    Process workload(Workload(mount_.path() + "/work", FreshSeed(),
                              {"--seconds", "0", "--max-file-bytes", "256K", "--max-objects", "200",
                               "--max-total-bytes", "8M"}));
    for (const auto& round : rounds) Suffer(round, time, watch);
    EXPECT_TRUE(StopWorkload(workload));
    watch.End();
    if (longest_sync_.count() != 0) {
      std::cout << "the longest sync beside the troubles: " << longest_sync_.count() << " ms\n";
    }
    ExpectAllSame();
  }

  const std::shared_ptr<const Host> source_host_ = std::make_shared<const Host>();
  std::vector<std::unique_ptr<BackupHost>> hosts_;
  milliseconds longest_sync_{0};
};

TEST_F(FourHosts, OneIsCutOffOneIsNotHeardAndTheThirdIsAsQuickAsEver) {
  std::vector<std::array<const Trouble*, kReplicas>> rounds = {{&kPulled, &kAnswersLost, &kNone}};
  if (LongTests()) {
    rounds.push_back({&kNone, &kRequestsLost, &kPulled});
    rounds.push_back({&kAnswersLost, &kNone, &kMoved});
    rounds.push_back({&kNone, &kKilled, &kKilled});
  }
  SufferThrough(rounds, seconds(Times(6, 40)));
}

TEST_F(FourHosts, OneIsSlowOneFlapsAndOneIsReset) {
  std::vector<std::array<const Trouble*, kReplicas>> rounds = {{&kSlow, &kFlapping, &kResets}};
  if (LongTests()) {
    rounds.push_back({&kResets, &kSlow, &kFlapping});
    rounds.push_back({&kKilled, &kFlapping, &kSlow});
  }
  SufferThrough(rounds, seconds(Times(6, 120)));
}

}  // namespace
}  // namespace tandem::test
