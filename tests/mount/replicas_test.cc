// Several replicas, and replicas that are away for a while.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class Replicas : public MountTest {
 protected:
  ReplicaDaemon second_{scratch_, "second"};
  ReplicaDaemon third_{scratch_, "third"};

  void UseAllThree() {
    mount_.options().replicas = {"one=" + replica_.url(), "two=" + second_.url(),
                                 "three=" + third_.url()};
  }
  int RunWorkload(uint64_t seed, const char* ops) {
    const Outcome outcome =
        Execute(Workload(mount_.path(), seed, {"--ops", ops, "--threads", "2"}));
    EXPECT_EQ(outcome.code, 0) << outcome;
    return outcome.code;
  }
};

TEST_F(Replicas, ThreeAreBroughtToTheSameTreeThoughOneComesLate) {
  UseAllThree();
  ASSERT_TRUE(second_.Start());
  ASSERT_TRUE(StartBoth());
  const uint64_t seed = FreshSeed();
  RunWorkload(seed, "1000");
  EXPECT_TRUE(mount_.Sync(120, "one"));
  EXPECT_TRUE(mount_.Sync(120, "two"));
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "0.5"}).code, 1);
  EXPECT_EQ(mount_.State(2), "connecting");
  EXPECT_NE(mount_.ReplicaError(2), "");

  Process workload(Workload(mount_.path(), seed + 1, {"--ops", "1000", "--threads", "2"}));
  ASSERT_TRUE(third_.Start());
  EXPECT_EQ(workload.Wait(), 0) << workload.err();
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
  EXPECT_TRUE(SameTrees(source_, second_.tree()));
  EXPECT_TRUE(SameTrees(source_, third_.tree()));
}

// How often threads of the process have gone to sleep.
uint64_t SwitchesOf(pid_t process) {
  uint64_t sum = 0;
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream lines(task.path().string() + "/status");  // fails if it has just ended
    for (std::string line; std::getline(lines, line);) {
      constexpr std::string_view kSlept = "voluntary_ctxt_switches:";
      if (line.starts_with(kSlept)) sum += std::stoull(line.substr(kSlept.size()));
    }
  }
  return sum;
}

TEST_F(Replicas, NobodyIsWokenWhileNothingHappens) {
  mount_.options().replicas = {"one=" + replica_.url(), "two=" + second_.url()};
  ASSERT_TRUE(second_.Start());
  ASSERT_TRUE(StartBoth());
  Write(mount_.path() + "/file", RandomBytes(100'000));
  ASSERT_TRUE(mount_.Sync());
  const std::vector<pid_t> processes = {mount_.process().pid(), replica_.process().pid(),
                                        second_.process().pid()};
  const auto all = [&processes] {
    std::vector<uint64_t> switches;
    for (const pid_t process : processes) switches.push_back(SwitchesOf(process));
    return switches;
  };
  // Until what the change has left to do is done: a window with few, within the patience of tests.
  constexpr auto kWindow = std::chrono::seconds(5);
  constexpr uint64_t kMost = 20;
  std::vector<uint64_t> most;
  EXPECT_TRUE(WaitFor(
      [&] {
        const auto before = all();
        std::this_thread::sleep_for(kWindow);
        const auto after = all();
        most.clear();
        for (size_t i = 0; i < after.size(); ++i) most.push_back(after[i] - before[i]);
        return std::ranges::max(most) <= kMost;
      },
      8 * kWindow))
      << testing::PrintToString(most);
}

TEST_F(Replicas, OneThatWasUnreachableForAWhileCatchesUp) {
  ASSERT_TRUE(StartBoth());
  const uint64_t seed = FreshSeed();
  RunWorkload(seed, "1000");
  ASSERT_TRUE(mount_.Sync());
  for (uint64_t round = 1; round <= 3; ++round) {
    replica_.Kill();
    RunWorkload(seed + round, "500");
    EXPECT_TRUE(mount_.WaitForState("connecting"));
    ASSERT_TRUE(replica_.Start());
    EXPECT_TRUE(Converges());
    EXPECT_TRUE(mount_.WaitForState("current"));
  }
}

// While the other follows, a cut that the first cannot be at is forgotten; its own is not.
TEST_F(Replicas, OneThatIsAwayIsNotKeptARowForEachCut) {
  mount_.options().replicas = {"one=" + replica_.url(), "two=" + second_.url()};
  ASSERT_TRUE(second_.Start());
  ASSERT_TRUE(StartBoth());
  Write(mount_.path() + "/file", "first");
  ASSERT_TRUE(mount_.Sync());
  second_.Kill();
  for (int i = 0; i < 300; ++i) {
    WriteAt(mount_.path() + "/file", 0, std::to_string(i));
    ASSERT_TRUE(mount_.Sync(60, "one"));
  }
  mount_.Kill();
  const Outcome rows = Execute(
      {"sqlite3", mount_.options().state + "/state.db", "SELECT count(*) < 200 FROM epoch"});
  EXPECT_EQ(rows.out, "1\n") << rows;
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(second_.Start());
  EXPECT_TRUE(test::Converges(mount_, second_));
  EXPECT_EQ(mount_.process().err().find("reconciling"), std::string::npos)
      << mount_.process().err();
}

TEST_F(Replicas, APausedOneIsSentNothingUntilResumed) {
  ASSERT_TRUE(StartBoth());
  MakeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  EXPECT_TRUE(mount_.WaitForState("paused"));
  Write(mount_.path() + "/while-paused", RandomBytes(100'000));
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
  EXPECT_EQ(access((replica_.tree() + "/while-paused").c_str(), F_OK), -1);
  EXPECT_GE(mount_.Status()["pending"]["bytes"], 100'000u);
  EXPECT_GT(mount_.ReplicaStatus()["lag_seconds"], 0.5);

  // It stays paused over a restart.
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(mount_.WaitForState("paused"));
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(Converges());
}

TEST_F(Replicas, OfSeveralOneCanBePausedAlone) {
  mount_.options().replicas = {"one=" + replica_.url(), "two=" + second_.url()};
  ASSERT_TRUE(second_.Start());
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("pause", {"--replica", "two"}).code, 0);
  MakeEveryKind(mount_.path());
  EXPECT_TRUE(test::Converges(mount_, replica_, "one"));
  EXPECT_EQ(mount_.Tandem("sync", {"--replica", "two", "--timeout", "0.5"}).code, 1);
  ASSERT_EQ(mount_.Tandem("resume", {"--replica", "two"}).code, 0);
  EXPECT_TRUE(test::Converges(mount_, second_, "two"));
}

TEST_F(Replicas, OneThatGetsAnotherNameGoesOnFromItsCut) {
  ASSERT_TRUE(StartBoth());
  MakeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas = {"another=" + replica_.url()};
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/file", "text");
  ASSERT_TRUE(Converges());
  EXPECT_EQ(mount_.process().err().find("reconciling"), std::string::npos)
      << mount_.process().err();
}

TEST_F(Replicas, OneThatIsTakenAwayAndComesBackIsSentNothingItHas) {
  mount_.options().replicas = {"one=" + replica_.url(), "two=" + second_.url()};
  ASSERT_TRUE(second_.Start());
  ASSERT_TRUE(StartBoth());
  Write(mount_.path() + "/file", RandomBytes(4 << 20));
  ASSERT_TRUE(mount_.Sync());
  // Until both rest at the newest cut.
  ASSERT_TRUE(WaitFor([&] {
    const Json status = mount_.Status();
    if (status["replicas"][0]["applied_cut"] == status["replicas"][1]["applied_cut"]) return true;
    WriteAt(mount_.path() + "/file", 0, "once more");
    EXPECT_TRUE(mount_.Sync());
    return false;
  })) << mount_.Status().dump(2);
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas = {"two=" + second_.url()};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.WaitForState("current"));
  ASSERT_TRUE(mount_.Unmount());
  for (const std::string name : {"one", "another"}) {
    mount_.options().replicas = {"two=" + second_.url(), name + "=" + replica_.url()};
    ASSERT_TRUE(mount_.Start());
    ASSERT_TRUE(mount_.WaitForState("current", 1));
    EXPECT_EQ(mount_.process().err().find("reconciling"), std::string::npos)
        << mount_.process().err();
    EXPECT_LT(mount_.SentBytes(1), 100'000u);
    ASSERT_TRUE(mount_.Unmount());
  }
  // What changes while it is away is on it after it has come back.
  mount_.options().replicas = {"two=" + second_.url()};
  ASSERT_TRUE(mount_.Start());
  WriteAt(mount_.path() + "/file", 1000, "changed meanwhile");
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas = {"two=" + second_.url(), "one=" + replica_.url()};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
}

TEST_F(Replicas, TwoThatExchangeTheirNamesStayWhole) {
  mount_.options().replicas = {"one=" + replica_.url(), "two=" + second_.url()};
  ASSERT_TRUE(second_.Start());
  ASSERT_TRUE(StartBoth());
  MakeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas = {"two=" + replica_.url(), "one=" + second_.url()};
  ASSERT_TRUE(mount_.Start());
  ChangeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
  EXPECT_TRUE(SameTrees(source_, second_.tree()));
}

TEST_F(Replicas, OneDaemonServesManyVolumes) {
  ASSERT_TRUE(StartBoth());
  Mount::Options options = OptionsOf("mount2");
  options.source = scratch_.Directory("source2");
  options.volume = "other";
  Mount other(options);
  ASSERT_TRUE(other.Start());
  MakeEveryKind(mount_.path());
  MakeEveryKind(other.path());
  ChangeEveryKind(other.path());
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(test::Converges(other, replica_));
}

using Invariant9Truthful = MountTest;

TEST_F(Invariant9Truthful, WhileAReplicaIsAwayNothingIsCalledSafe) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  replica_.Kill();
  Write(mount_.path() + "/file", RandomBytes(50'000));
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "0.5"}).code, 1);
  EXPECT_TRUE(mount_.WaitForState("connecting"));
  EXPECT_GE(mount_.Status()["pending"]["bytes"], 50'000u);
  const double lag = mount_.ReplicaStatus()["lag_seconds"];
  EXPECT_GT(lag, 0.4);
  EXPECT_TRUE(WaitFor([&] { return mount_.ReplicaStatus()["lag_seconds"] > lag + 0.5; }));
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(WaitFor([&] { return mount_.ReplicaStatus()["lag_seconds"] == 0.0; }));
}

TEST_F(Invariant9Truthful, MoreChangesThanAreRememberedAreNotCalledNone) {
  ReplicaDaemon second(scratch_, "second");
  mount_.options().replicas = {"one=" + replica_.url(), "two=" + second.url()};
  mount_.options().more = {"--max-changes", "1000"};
  ASSERT_TRUE(second.Start());
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  second.Kill();
  for (int i = 0; i < 1100; ++i) Write(mount_.path() + "/file" + std::to_string(i), "");
  ASSERT_TRUE(mount_.Sync(60, "one"));
  EXPECT_TRUE(WaitFor(
      [&] { return mount_.process().err().find("two: more than 1000") != std::string::npos; }));
  ASSERT_TRUE(mount_.WaitForState("current"));
  EXPECT_GT(mount_.ReplicaStatus(1)["pending"]["objects"], 0);
  EXPECT_GT(mount_.Status()["pending"]["objects"], 0);
  EXPECT_NE(mount_.ReplicaStatus(1).value("notice", "").find("its whole tree is compared"),
            std::string::npos);
  ASSERT_TRUE(second.Start());
  EXPECT_TRUE(test::Converges(mount_, second));
  EXPECT_TRUE(WaitFor([&] { return mount_.Status()["pending"]["objects"] == 0; }));
  EXPECT_EQ(mount_.ReplicaStatus(1).value("notice", ""), "");
}

}  // namespace
}  // namespace tandem::test
