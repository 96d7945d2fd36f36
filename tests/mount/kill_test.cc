// The daemons are killed at random moments under load and started again, many times. What is found
// in the end is what would be found without, and no kill leads to a scan of the tree.
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <random>
#include <thread>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

class Invariant4Repeatable : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    seed_ = FreshSeed();
    random_.seed(seed_);
    MakeEveryKind(source_);
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
    first_seed_ = mount_.process().err();
  }

  void StartWorkload() {
    workload_ = std::make_unique<Process>(
        Workload(mount_.path(), ++seed_,
                 {"--seconds", "0", "--threads", "2", "--tolerate-disconnect", "--max-objects",
                  "600", "--max-file-bytes", "2M", "--max-total-bytes", "100M"}));
  }

  void EndWorkload() {
    if (workload_ != nullptr) {
      EXPECT_TRUE(StopWorkload(*workload_));
    }
    workload_.reset();
  }

  // A moment is what is random here; nothing is waited for.
  void LetItRun() { std::this_thread::sleep_for(milliseconds(random_() % 500)); }

  void KillSource() {
    mount_.Kill();
    EndWorkload();
    ExpectNoScan();
    ASSERT_TRUE(mount_.Start());
    first_seed_.clear();
    StartWorkload();
  }

  void KillReplica() {
    replica_.Kill();
    ASSERT_TRUE(replica_.Start());
  }

  // The log names every state the link was in.
  void ExpectNoScan() {
    const std::string log = mount_.process().err().substr(first_seed_.size());
    for (const char* state : {"seeding", "reconciling"}) {
      EXPECT_EQ(log.find("replica one: " + std::string(state)), std::string::npos) << log;
    }
  }

  void ExpectIdentical() {
    EndWorkload();
    ASSERT_TRUE(Converges());
    ExpectNoScan();
  }

  uint64_t seed_ = 0;
  std::mt19937_64 random_;
  std::string first_seed_;
  std::unique_ptr<Process> workload_;
};

constexpr int kChecksEvery = 10;

TEST_F(Invariant4Repeatable, TheSourceMayBeKilledAtAnyMoment) {
  const int times = Times(55, 500);
  StartWorkload();
  for (int kill = 1; kill <= times && !HasFailure(); ++kill) {
    LetItRun();
    KillSource();
    if (HasFailure() || kill % kChecksEvery != 0) continue;
    ExpectIdentical();
    StartWorkload();
  }
  ExpectIdentical();
}

TEST_F(Invariant4Repeatable, TheReplicaMayBeKilledAtAnyMoment) {
  const int times = Times(55, 500);
  StartWorkload();
  for (int kill = 1; kill <= times && !HasFailure(); ++kill) {
    LetItRun();
    KillReplica();
    if (HasFailure() || kill % kChecksEvery != 0) continue;
    ExpectIdentical();
    StartWorkload();
  }
  ExpectIdentical();
}

TEST_F(Invariant4Repeatable, BothMayBeKilledInAnyOrder) {
  const int times = Times(15, 200);
  StartWorkload();
  for (int kill = 1; kill <= times && !HasFailure(); ++kill) {
    LetItRun();
    switch (random_() % 3) {
      case 0:
        KillSource();
        break;
      case 1:
        KillReplica();
        break;
      default:
        replica_.Kill();
        KillSource();
        ASSERT_TRUE(replica_.Start());
    }
    if (HasFailure() || kill % kChecksEvery != 0) continue;
    ExpectIdentical();
    StartWorkload();
  }
  ExpectIdentical();
}

using KilledWalk = MountTest;

// What has listed a directory and changes one file after the other has the next ones marked too:
// those that were changed by the time of the kill and those that were not.
TEST_F(KilledWalk, LeavesMarksAheadOfItAndLosesNothing) {
  constexpr int kFiles = 40, kChanged = 10;
  stdfs::create_directory(source_ + "/d");
  for (int i = 0; i < kFiles; ++i) Write(source_ + "/d/" + std::to_string(i), "content");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  replica_.Kill();
  int changed = 0;
  for (const auto& file : stdfs::directory_iterator(mount_.path() + "/d")) {
    if (changed++ == kChanged) break;
    ASSERT_EQ(chmod(file.path().c_str(), 0600), 0);
  }
  mount_.Kill();
  const Outcome marked =
      Execute({"sqlite3", mount_.options().state + "/state.db",
               "SELECT count(*) > 10, count(*) <= 40 FROM hot WHERE region = -1"});
  EXPECT_EQ(marked.out, "1|1\n") << marked;
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(KilledWalk, IsFollowedByTheReplicaAsFarAsItGot) {
  std::mt19937_64 random(FreshSeed());
  const std::string tree = mount_.path() + "/tree";
  ASSERT_TRUE(StartBoth());
  for (int d = 0; d < 20; ++d) {
    const std::string directory = tree + "/" + std::to_string(d) + "/below";
    stdfs::create_directories(directory);
    for (int i = 0; i < 40; ++i) Write(directory + "/" + std::to_string(i), "content");
  }
  ASSERT_TRUE(mount_.Sync());
  const int kills = Times(8, 100);
  for (int kill = 0; kill < kills; ++kill) {
    // A walk ends with the mount; the last one removes.
    const std::string change = kill % 2 == 0 ? "chmod -R go-rwx " : "chmod -R go+r ";
    const std::string command = kill == kills - 1 ? "rm -r " : change;
    Process walk({.command = {"sh", "-c", "exec " + command + tree + " 2>/dev/null"}});
    std::this_thread::sleep_for(milliseconds(random() % 100));
    mount_.Kill();
    walk.Wait();
    ASSERT_TRUE(mount_.Start());
    ASSERT_TRUE(Converges());
  }
}

using KilledSeed = MountTest;

TEST_F(KilledSeed, IsTakenUpAgain) {
  std::mt19937_64 random(FreshSeed());
  ASSERT_EQ(Execute(Workload(source_, random(), {"--ops", "2000", "--threads", "2"})).code, 0);
  ASSERT_TRUE(replica_.Start());
  for (int kill = 0; kill < Times(6, 100); ++kill) {
    ASSERT_TRUE(mount_.Start());
    std::this_thread::sleep_for(milliseconds(random() % 200));
    if (kill % 2 == 0) {
      replica_.Kill();
      ASSERT_TRUE(replica_.Start());
      std::this_thread::sleep_for(milliseconds(random() % 200));
    }
    mount_.Kill();
  }
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
