// Whatever a replica shows while its marker says "applied" was once the state of the source
// (tests/programs/lib/causal.h says how that is seen).
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <thread>

#include "tests/mount_fixture.h"
#include "tests/programs/lib/causal.h"

namespace tandem::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr int kThreads = 3;

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Invariant3AlwaysOneMoment : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    random_.seed(FreshSeed());
    ASSERT_EQ(programs::MakeCausalTree(source_, kThreads), "");
    mount_.options().more = {"--interval", "5"};
  }

  // Returns when the first operation after `reached` is done.
  void StartWriting(uint64_t reached = 0) {
    const std::vector<std::string> command = {Program("tests/causal_writer"), "run", mount_.path(),
                                              std::to_string(kThreads), log_path_};
    writer_ = std::make_unique<Process>(Launch{command});
    ASSERT_TRUE(WaitFor([&] { return log_.Get(0, reached + 1).ended != 0; })) << writer_->err();
  }
  void StopWriting() {
    writer_->Signal(SIGTERM);
    EXPECT_EQ(writer_->Wait(), 0) << writer_->err();
  }

  // Looks at the tree once, with the daemon stopped wherever it is. What is seen counts if no redo
  // was under way.
  void Look() {
    replica_.process().Signal(SIGSTOP);
    ASSERT_TRUE(WaitFor([this] { return replica_.process().stopped(); }));
    LookAtTree();
    replica_.process().Signal(SIGCONT);
  }

  void LookAtTree() {
    const std::string marker_path = replica_.store() + "/" + kVolume + "/applied";
    const std::string before = ReadWhole(marker_path);
    if (before.find("\"applied\"") == std::string::npos) return;
    std::vector<uint64_t> last;
    const std::string state = programs::ReadCausalTree(replica_.tree(), kThreads, last);
    if (ReadWhole(marker_path) != before) return;
    ASSERT_EQ(state, "") << before;
    ASSERT_EQ(programs::CheckCausalOrder(log_, last), "") << before;
    last_ = last;
    if (before == seen_) return;
    seen_ = before;
    ++cuts_seen_;
  }

  void LookFor(milliseconds time) {
    const auto end = Clock::now() + time;
    while (Clock::now() < end && !HasFailure()) {
      Look();
      std::this_thread::sleep_for(milliseconds(random_() % 10));
    }
  }

  void LookUntilSeen(int cuts) {
    while (cuts_seen_ < cuts && !HasFailure()) {
      const int before = cuts_seen_;
      ASSERT_TRUE(WaitFor([this, before] {
        Look();
        return cuts_seen_ > before || HasFailure();
      }));
    }
  }

  void ExpectSeen(int least) {
    StopWriting();
    EXPECT_TRUE(Converges());
    Look();
    RecordProperty("cuts_seen", cuts_seen_);
    printf("cuts seen: %d\n", cuts_seen_);
    EXPECT_GE(cuts_seen_, least);
  }

  std::mt19937_64 random_;
  const std::string log_path_ = scratch_.Path("log");
  programs::CausalLog log_{log_path_, kThreads};
  std::unique_ptr<Process> writer_;
  std::string seen_;
  std::vector<uint64_t> last_ = std::vector<uint64_t>(kThreads);  // what it had
  int cuts_seen_ = 0;
};

TEST_F(Invariant3AlwaysOneMoment, WhateverTheReplicaShows) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  StartWriting();
  LookUntilSeen(Times(100, 10'000));
  ExpectSeen(100);
}

TEST_F(Invariant3AlwaysOneMoment, FromTheFirstCutAfterSeedingOn) {
  // Enough beside it that seeding takes a while.
  ASSERT_EQ(
      Execute(Workload(scratch_.Directory("source/beside"), 1, {"--ops", "3000", "--threads", "2"}))
          .code,
      0);
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Start());
  StartWriting();
  LookUntilSeen(Times(20, 500));
  ExpectSeen(20);
}

TEST_F(Invariant3AlwaysOneMoment, WhileItCatchesUpAgainAndAgain) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  StartWriting();
  for (int round = 0; round < Times(5, 100) && !HasFailure(); ++round) {
    ASSERT_EQ(mount_.Tandem("pause").code, 0);
    LookFor(milliseconds(200 + random_() % 500));
    ASSERT_EQ(mount_.Tandem("resume").code, 0);
    LookUntilSeen(cuts_seen_ + 4);
    LookFor(milliseconds(random_() % 500));
  }
  ExpectSeen(20);
}

TEST_F(Invariant3AlwaysOneMoment, HoweverOftenTheReplicaIsKilled) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  StartWriting();
  for (int kill = 0; kill < Times(10, 300) && !HasFailure(); ++kill) {
    LookUntilSeen(cuts_seen_ + 1);
    std::this_thread::sleep_for(milliseconds(random_() % 200));
    replica_.Kill();
    // The marker tells the truth of a tree whose daemon is dead as well.
    LookAtTree();
    ASSERT_TRUE(replica_.Start());
  }
  ExpectSeen(10);
}

TEST_F(Invariant3AlwaysOneMoment, HoweverOftenTheSourceIsKilled) {
  constexpr int kDisconnected = 3;  // causal_writer's
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  StartWriting();
  for (int kill = 0; kill < Times(4, 100) && !HasFailure(); ++kill) {
    LookUntilSeen(cuts_seen_ + 1);
    LookFor(milliseconds(random_() % 300));
    mount_.Kill();
    ASSERT_EQ(writer_->Wait(), kDisconnected) << writer_->err();
    Look();
    // What was under way at the kill is there, or not; nothing is there by half.
    std::vector<uint64_t> source;
    ASSERT_EQ(programs::ReadCausalTree(source_, kThreads, source), "");
    for (size_t t = 0; t < source.size(); ++t) {
      ASSERT_EQ(log_.Get(static_cast<int>(t), source[t] + 1).ended, 0U) << "it had returned";
      ASSERT_LE(last_[t], source[t]) << "the replica ran ahead of the source";
    }
    ASSERT_TRUE(mount_.Start());
    Look();
    StartWriting(source[0]);
  }
  LookUntilSeen(cuts_seen_ + 1);
  ExpectSeen(4);
}

}  // namespace
}  // namespace tandem::test
