// Every named place where a process may die is died at; then it is started again, and the trees
// become the same.
#if defined(TANDEM_FAULT_POINTS)

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <sstream>

#include "meta/base/fault_point.h"
#include "tests/competitor.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr int kKilled = 128 + SIGKILL;

std::vector<std::string> ListedBy(const std::string& program) {
  std::istringstream list(Execute({Program(program), "--list-fault-points"}).out);
  return {std::istream_iterator<std::string>(list), {}};
}

TEST(FaultPoints, AreListedByTheProgramsThatPassThem) {
  EXPECT_TRUE(std::ranges::equal(ListedBy("tandemfs"), kSourceFaultPoints));
  std::vector<std::string_view> of_replica(std::begin(kReplicaFaultPoints),
                                           std::end(kReplicaFaultPoints));
  of_replica.insert(of_replica.end(), std::begin(kFullDiskFaultPoints),
                    std::end(kFullDiskFaultPoints));
  EXPECT_TRUE(std::ranges::equal(ListedBy("tandemd"), of_replica));
}

class Faults : public MountTest, public ::testing::WithParamInterface<std::string_view> {
 protected:
  static Environment Armed(std::string_view point) {
    return {{"TANDEM_FAULT", std::string(point)}};
  }

  // `only`: kinds of operation; empty: all of them.
  Launch EndlessWorkload(uint64_t seed, const std::string& only) {
    std::vector<std::string> arguments = {"--seconds",
                                          "0",
                                          "--threads",
                                          "2",
                                          "--tolerate-disconnect",
                                          "--max-objects",
                                          "400",
                                          "--max-file-bytes",
                                          "4M",
                                          "--max-total-bytes",
                                          "60M"};
    if (!only.empty()) arguments.insert(arguments.end(), {"--only", only});
    return Workload(mount_.path(), seed, arguments);
  }

  void Work(uint64_t seed, const char* ops) {
    const Outcome outcome = Execute(Workload(mount_.path(), seed, {"--ops", ops}));
    EXPECT_EQ(outcome.code, 0) << outcome;
  }

  // Runs operations for a time, then lets what is hot cool, unless the process dies before.
  void WorkAndPause(Process& process, uint64_t seed, const std::string& only) {
    Process workload(EndlessWorkload(seed, only));
    process.Wait(seconds(3));
    EXPECT_TRUE(StopWorkload(workload));
    process.Wait(seconds(15));
  }

  // Until the process dies of its fault.
  void WorkUntilDead(Process& process) {
    constexpr int kRounds = 4;
    for (int i = 0; i < kRounds && process.running(); ++i) WorkAndPause(process, 2, "");
    EXPECT_EQ(process.Wait(), kKilled) << GetParam() << " was never reached\n" << process.err();
  }
};

// The matrix: each point while operations of one kind alone go on. Not every kind meets every
// point; where it does not, the process is killed wherever it is.
constexpr const char* kKinds[] = {
    "create,pwrite,append,write_sequential,writev,copy_range,mmap_store",
    "create,truncate_down,truncate_up,punch_hole,zero_range,allocate",
    "create,mkdir,rmdir,unlink,remove_tree,nest_deeply,symlink,mkfifo,mkdevice",
    "create,mkdir,rename,rename_exchange,rename_noreplace,rename_whiteout,link,unlink",
    "create,mkdir,chmod,chown,utimens,setxattr,removexattr,set_access_acl,set_default_acl",
    "create,unlink_open,rename_open,held_file,create_unnamed",
    "editor_save,log_append,database_commit",
};

bool IsOfStopping(std::string_view point) { return point.starts_with("source.stop."); }

// Those of the source, but for what is passed only at a clean end.
std::vector<std::string_view> SourceFaultPoints() {
  std::vector<std::string_view> points(std::begin(kSourceFaultPoints),
                                       std::end(kSourceFaultPoints));
  std::erase_if(points, IsOfStopping);
  return points;
}
std::vector<std::string_view> StopFaultPoints() {
  std::vector<std::string_view> points(std::begin(kSourceFaultPoints),
                                       std::end(kSourceFaultPoints));
  std::erase_if(points, [](std::string_view point) { return !IsOfStopping(point); });
  return points;
}

class FaultMatrix : public Faults {
 protected:
  // All of them in the long tests, otherwise one, another for each point.
  static std::vector<std::string> Kinds() {
    if (LongTests()) return {std::begin(kKinds), std::end(kKinds)};
    const std::string_view name = GetParam();
    const auto sum = std::accumulate(name.begin(), name.end(), size_t{0});
    return {kKinds[sum % std::size(kKinds)]};
  }
  void DieOnce(Process& process, const std::string& kind) {
    // These come when the work pauses, and then they do come.
    if (GetParam().starts_with("source.sync.") || GetParam().starts_with("source.cool.")) {
      WorkAndPause(process, FreshSeed(), kind);
      EXPECT_EQ(process.Wait(), kKilled) << GetParam() << " was not reached\n" << process.err();
      return;
    }
    Process workload(EndlessWorkload(FreshSeed(), kind));
    if (!process.Wait(seconds(10))) process.Signal(SIGKILL);
    EXPECT_EQ(process.Wait(), kKilled) << process.err();
    EXPECT_TRUE(StopWorkload(workload));
  }
};

TEST_P(FaultMatrix, IsSurvived) {
  const bool of_source = GetParam().starts_with("source.");
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  for (const std::string& kind : Kinds()) {
    SCOPED_TRACE(kind);
    ASSERT_TRUE(mount_.Sync());
    if (of_source) {
      mount_.Kill();
      const bool started = bool(mount_.Start(Armed(GetParam())));
      if (started) DieOnce(mount_.process(), kind);
      ASSERT_TRUE(mount_.Start());
    } else {
      replica_.Kill();
      const bool started = bool(replica_.Start(Armed(GetParam())));
      if (started) DieOnce(replica_.process(), kind);
      ASSERT_TRUE(replica_.Start());
    }
    ASSERT_TRUE(Converges());
  }
}

// A disk that is full is emptied at the source; the daemon of its store dies on the way.
class FullDiskFaults : public Faults {
 protected:
  void TearDown() override {
    mount_.Kill();
    full_.reset();
    disk_.reset();
  }

  std::unique_ptr<LoopDisk> disk_;
  std::unique_ptr<ReplicaDaemon> full_;
};

TEST_P(FullDiskFaults, AreSurvived) {
  disk_ = std::make_unique<LoopDisk>(scratch_, "store", "ext4", scratch_.Directory("disk"));
  ASSERT_TRUE(disk_->Make(96 * kMiB));
  full_ = std::make_unique<ReplicaDaemon>(scratch_, "full", disk_->directory() + "/store");
  mount_.options().replicas = {"one=" + full_->url()};
  ASSERT_TRUE(full_->Start(Armed(GetParam())));
  ASSERT_TRUE(mount_.Start());
  for (int i = 0; i < 6; ++i) {
    Write(mount_.path() + "/" + std::to_string(i), RandomBytes(8 * kMiB, i));
    ASSERT_TRUE(mount_.Sync());
  }
  auto competitor = std::make_unique<Competitor>(disk_->directory() + "/others");
  // What does not fit has removals go ahead.
  const bool frees = GetParam().starts_with("replica.redo.freed");
  for (int i = 0; i < 5; ++i) {
    std::filesystem::remove(mount_.path() + "/" + std::to_string(i));
    Write(mount_.path() + "/new", frees ? RandomBytes(4 * kMiB, i) : "small");
    std::filesystem::resize_file(mount_.path() + "/5", static_cast<size_t>(7 - i) * kMiB);
    mount_.Tandem("sync", {"--timeout", "2"});
  }
  EXPECT_EQ(full_->process().Wait(), kKilled) << GetParam() << " was never reached";
  full_->Kill();
  ASSERT_TRUE(full_->Start());
  EXPECT_TRUE(WaitFor([this] { return !std::filesystem::exists(full_->tree() + "/4"); }))
      << mount_.Tandem("status") << full_->process().err();
  competitor.reset();
  EXPECT_TRUE(test::Converges(mount_, *full_));
}

class SourceFaults : public Faults {};

TEST_P(SourceFaults, AreSurvived) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  Work(1, "150");
  // Killed, so that there is something to recover, and directories to walk.
  mount_.Kill();
  if (mount_.Start(Armed(GetParam()))) {
    WorkUntilDead(mount_.process());
  } else {
    ASSERT_EQ(mount_.process().Wait(), kKilled) << mount_.process().err();
  }
  ASSERT_TRUE(mount_.Start());
  Work(3, "50");
  EXPECT_TRUE(Converges());
}

class FaultsOfStopping : public Faults {};

// It ends, or makes room for another one, and is killed on the way.
TEST_P(FaultsOfStopping, AreSurvived) {
  mount_.options().mountpoint = source_;
  MakeEveryKind(source_);
  ASSERT_TRUE(replica_.Start());
  for (const bool taken_over : {false, true}) {
    ASSERT_TRUE(mount_.Start(Armed(GetParam())));
    Process held(Launch{{Program("tests/map_writer"), source_ + "/mapped", "500", "held"}});
    ASSERT_TRUE(WaitFor([&] { return held.out() == "dirty\n"; })) << held.err();
    if (taken_over) {
      Mount second(mount_.options());
      ASSERT_TRUE(second.Start());
      EXPECT_EQ(mount_.process().Wait(), kKilled) << mount_.process().err();
      ASSERT_TRUE(WaitFor([&] { return second.Tandem("status").code == 0; }))
          << second.process().err();
      EXPECT_TRUE(test::Converges(second, replica_)) << second.process().err();
      EXPECT_TRUE(second.Unmount());
    } else {
      mount_.process().Signal(SIGTERM);
      EXPECT_EQ(mount_.process().Wait(), kKilled) << mount_.process().err();
      ASSERT_TRUE(mount_.Start());
      EXPECT_TRUE(Converges());
      EXPECT_TRUE(mount_.Unmount());
    }
    EXPECT_EQ(Read(source_ + "/mapped").substr(4096, 4), "held");
  }
}

class FaultsOfTakingOver : public Faults {};

// The one that takes over is killed on the way: the other goes on, or the next start takes over.
TEST_P(FaultsOfTakingOver, AreSurvived) {
  mount_.options().mountpoint = source_;
  ASSERT_TRUE(StartBoth());
  Write(source_ + "/file", "before");
  Mount second(mount_.options());
  (void)second.Start(Armed(GetParam()));  // the first still answers
  EXPECT_EQ(second.process().Wait(), kKilled) << second.process().err();
  EXPECT_EQ(Read(source_ + "/file"), "before");
  ASSERT_TRUE(second.Start()) << second.process().err();
  EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
  ASSERT_TRUE(WaitFor([&] { return second.Tandem("status").code == 0; })) << second.process().err();
  Write(source_ + "/file", "after");
  EXPECT_TRUE(test::Converges(second, replica_));
  EXPECT_TRUE(second.Unmount());
  EXPECT_TRUE(MountsBelow(source_).empty());
}

class ReplicaFaults : public Faults {};

TEST_P(ReplicaFaults, AreSurvived) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(replica_.Stop());
  // First die with a stage committed and not applied: what comes next then also meets its redo at
  // start.
  ASSERT_TRUE(replica_.Start(Armed("replica.commit.after_sync")));
  WorkUntilDead(replica_.process());
  if (replica_.Start(Armed(GetParam()))) {
    WorkUntilDead(replica_.process());
  } else {
    ASSERT_EQ(replica_.process().Wait(), kKilled) << replica_.process().err();
  }
  ASSERT_TRUE(replica_.Start());
  Work(3, "50");
  EXPECT_TRUE(Converges());
}

class FaultsWhileSeeding : public Faults {};

// Whichever of the two passes the point, it does so with the first copy under way.
TEST_P(FaultsWhileSeeding, AreSurvived) {
  MakeEveryKind(source_);
  const bool of_source = GetParam().starts_with("source.");
  ASSERT_TRUE(replica_.Start(of_source ? Environment() : Armed(GetParam())));
  const auto started = mount_.Start(of_source ? Armed(GetParam()) : Environment());
  Process& process = of_source ? mount_.process() : replica_.process();
  ASSERT_TRUE(started || of_source);
  ASSERT_EQ(process.Wait(), kKilled) << GetParam() << " was never reached";
  ASSERT_TRUE(of_source ? mount_.Start() : replica_.Start());
  EXPECT_TRUE(Converges());
}

std::string NameOf(const ::testing::TestParamInfo<std::string_view>& info) {
  std::string name(info.param);
  std::ranges::replace(name, '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Invariant4Repeatable, SourceFaults,
                         ::testing::ValuesIn(SourceFaultPoints()), NameOf);
INSTANTIATE_TEST_SUITE_P(OfTheSource, FaultMatrix, ::testing::ValuesIn(SourceFaultPoints()),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Invariant11NoSeams, FaultsOfStopping,
                         ::testing::ValuesIn(StopFaultPoints()), NameOf);
INSTANTIATE_TEST_SUITE_P(Invariant11NoSeams, FaultsOfTakingOver,
                         ::testing::Values(std::string_view("source.start.before_attach"),
                                           std::string_view("source.start.attached")),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(OfTheReplica, FaultMatrix, ::testing::ValuesIn(kReplicaFaultPoints),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Invariant4Repeatable, FullDiskFaults,
                         ::testing::ValuesIn(kFullDiskFaultPoints), NameOf);
INSTANTIATE_TEST_SUITE_P(Invariant4Repeatable, ReplicaFaults,
                         ::testing::ValuesIn(kReplicaFaultPoints), NameOf);
INSTANTIATE_TEST_SUITE_P(Invariant4Repeatable, FaultsWhileSeeding,
                         ::testing::Values(std::string_view("source.cut.frozen"),
                                           std::string_view("source.walk.directory"),
                                           std::string_view("source.ship.chunk_sent"),
                                           std::string_view("source.ship.after_commit"),
                                           std::string_view("source.ack.applied"),
                                           std::string_view("replica.stage.chunk_written"),
                                           std::string_view("replica.commit.after_sync"),
                                           std::string_view("replica.redo.entry_placed"),
                                           std::string_view("replica.redo.catalog_changed")),
                         NameOf);

}  // namespace
}  // namespace tandem::test

#endif  // TANDEM_FAULT_POINTS
