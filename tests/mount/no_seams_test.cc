// A tandemfs that was killed, or is to be replaced, is started again on its mountpoint: at no
// instant do applications meet the bare directory beneath it.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <thread>

#include "fs/mount/kernel_mount.h"
#include "meta/base/mount_table.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"
#include "tests/programs/lib/expected_errors.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

// Looks again and again which filesystem a path leads to, without asking that filesystem.
class Watch {
 public:
  Watch(std::string path, dev_t bare) : path_(std::move(path)), bare_(bare) {
    thread_ = std::thread([this] {
      while (!over_) {
        struct statx found;
        const bool looked =
            statx(AT_FDCWD, path_.c_str(), AT_STATX_DONT_SYNC, STATX_TYPE, &found) == 0;
        if (looked && makedev(found.stx_dev_major, found.stx_dev_minor) == bare_) ++bare_seen_;
        ++looks_;
      }
    });
    Await(100);
  }
  ~Watch() {
    Await(looks_ + 100);
    over_ = true;
    thread_.join();
    EXPECT_EQ(bare_seen_, 0u) << "of " << looks_ << " looks at " << path_;
  }

 private:
  void Await(unsigned looks) {
    EXPECT_TRUE(WaitFor([&] { return looks_ >= looks; }));
  }

  const std::string path_;
  const dev_t bare_;
  std::atomic<bool> over_{false};
  std::atomic<unsigned> bare_seen_{0};
  std::atomic<unsigned> looks_{0};
  std::thread thread_;
};

dev_t DeviceOf(const std::string& path) {
  struct stat found = {};
  EXPECT_EQ(0, stat(path.c_str(), &found)) << path;
  return found.st_dev;
}

// Writes by path as an application does that goes on after an error, until it is told to stop.
class Writer {
 public:
  explicit Writer(const std::string& directory)
      : process_(Launch{{"sh", "-c",
                         "i=0; while :; do i=$((i+1)); "
                         "{ echo $i >" +
                             directory + "/f$((i % 50)); } 2>/dev/null; done"}}) {}
  ~Writer() { process_.Signal(SIGKILL); }

 private:
  Process process_;
};

class Invariant11NoSeams : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    mount_.options().mountpoint = source_;
  }
  void Begin() {
    bare_ = DeviceOf(source_);
    stdfs::create_directories(source_ + "/d");
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }
  // Kills and starts again, a few times, while somebody works there.
  void KillAndStart(int times) {
    const Watch watch(source_, bare_);
    for (int i = 0; i < times; ++i) {
      const Writer writer(source_ + "/d");
      mount_.Kill();
      ASSERT_TRUE(mount_.Start());
      const std::string said = mount_.process().err();
      EXPECT_EQ(said.find("was not unmounted in order"), std::string::npos) << said;
      EXPECT_EQ(said.find("was changed, or was open"), std::string::npos) << said;
    }
  }
  void ExpectIdentical() {
    EXPECT_TRUE(mount_.Sync());
    const Outcome verified = mount_.Verify({"--full"});
    EXPECT_EQ(verified.code, 0) << verified;
    EXPECT_EQ(MountsBelow(source_).size(), mounts_);
  }

  dev_t bare_ = 0;
  size_t mounts_ = 1;
};

TEST_F(Invariant11NoSeams, KilledAndStartedAgainOverItself) {
  Begin();
  KillAndStart(4);
  ExpectIdentical();
  // The original directory, with what is mounted there later.
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(mount_.Start());
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Unmount());
  EXPECT_EQ(DeviceOf(source_), bare_);
}

TEST_F(Invariant11NoSeams, ANestedMountStaysReachable) {
  stdfs::create_directories(source_ + "/nested");
  ASSERT_EQ(0, mount("tmpfs", (source_ + "/nested").c_str(), "tmpfs", 0, nullptr));
  Write(source_ + "/nested/file", "nested");
  mounts_ = 2;
  Begin();
  KillAndStart(2);
  EXPECT_EQ(Read(source_ + "/nested/file"), "nested");
  EXPECT_EQ(mount_.Status()["not_replicated"], Json::array({source_ + "/nested"}));
  ExpectIdentical();
}

TEST_F(Invariant11NoSeams, TheSourceIsItselfAMountPoint) {
  LoopDisk disk(scratch_, "disk", "ext4", source_);
  ASSERT_TRUE(disk.Make(256 << 20));
  stdfs::create_directories(source_ + "/nested");
  ASSERT_EQ(0, mount("tmpfs", (source_ + "/nested").c_str(), "tmpfs", 0, nullptr));
  Write(source_ + "/nested/file", "nested");
  mounts_ = 3;
  Begin();
  KillAndStart(3);
  EXPECT_EQ(Read(source_ + "/nested/file"), "nested");
  EXPECT_EQ(mount_.Status()["not_replicated"], Json::array({source_ + "/nested"}));
  ExpectIdentical();
  ASSERT_TRUE(mount_.Unmount());
  DetachBelow(source_);
}

TEST_F(Invariant11NoSeams, TheSourceIsElsewhere) {
  mount_.options().mountpoint = scratch_.Directory("elsewhere");
  stdfs::create_directories(source_ + "/d");
  const dev_t bare = DeviceOf(mount_.path());
  ASSERT_TRUE(StartBoth());
  {
    const Watch watch(mount_.path(), bare);
    for (int i = 0; i < 3; ++i) {
      mount_.Kill();
      ASSERT_TRUE(mount_.Start());
    }
  }
  EXPECT_EQ(MountsBelow(mount_.path()).size(), 1u);
}

TEST_F(Invariant11NoSeams, AFailedStartLeavesTheDeadMount) {
  Begin();
  mount_.Kill();
  const Watch watch(source_, bare_);
  const auto fails = [this](const Mount::Options& options) {
    const Outcome outcome = Execute(Mount::CommandOf(options), kPatience);
    EXPECT_NE(outcome.code, 0);
    EXPECT_NE(outcome.code, 128 + SIGKILL) << outcome;
    EXPECT_EQ(-1, open((source_ + "/lost").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    EXPECT_TRUE(workload::IsDisconnect(errno)) << strerror(errno);
  };
  Mount::Options options = mount_.options();
  options.state = "/proc/nowhere";
  fails(options);
  options = mount_.options();
  options.volume = "another";
  fails(options);
  options = mount_.options();
  options.more = {"-o", "nonsense"};
  fails(options);
  options.more = {"-o", "context=nobody:knows:this"};
  fails(options);
  ASSERT_TRUE(mount_.Start());
}

TEST_F(Invariant11NoSeams, WhereNothingCanBePlacedBeneathTheNewOneCoversTheDead) {
  Begin();
  mount_.Kill();
  auto created = fs::KernelMount::Create(fs::KernelMountOptions::Parse("", "new"));
  ASSERT_TRUE(created) << created.error().ToString();
  ASSERT_NE(*created, nullptr);
  {
    const Watch watch(source_, bare_);
    ASSERT_TRUE((*created)->Attach(source_, fs::KernelMount::Place::kOverDead));
    const auto stack = MountsAt(source_);
    ASSERT_TRUE(stack && stack->size() == 2u);
    EXPECT_EQ(stack->back().device, (*created)->device());
  }
  ASSERT_TRUE((*created)->Detach());
  EXPECT_TRUE(MountsBelow(source_).empty());
  EXPECT_EQ(DeviceOf(source_), bare_);
}

TEST_F(Invariant11NoSeams, TheStateIsGoneAtTheStart) {
  Begin();
  {
    const Watch watch(source_, bare_);
    mount_.Kill();
    stdfs::remove_all(mount_.options().state);
    // Another identity: to the replica another source.
    stdfs::remove_all(replica_.store());
    replica_.Kill();
    ASSERT_TRUE(replica_.Start());
    ASSERT_TRUE(mount_.Start());
  }
  ExpectIdentical();
}

// Of two mounts with one path, one is hidden below what covers its parent directory.
TEST_F(Invariant11NoSeams, ANameWithABlankBelowADirectoryThatIsCovered) {
  const std::string outer = scratch_.Directory("outer");
  const std::string inner = outer + "/with a blank";
  stdfs::create_directory(inner);
  ASSERT_EQ(0, mount("tmpfs", inner.c_str(), "tmpfs", 0, nullptr));
  ASSERT_EQ(0, mount("tmpfs", outer.c_str(), "tmpfs", 0, nullptr));
  stdfs::create_directories(inner + "/d");
  mount_.options().source = mount_.options().mountpoint = inner;
  const dev_t bare = DeviceOf(inner);
  ASSERT_TRUE(StartBoth());
  {
    const Watch watch(inner, bare);
    for (int i = 0; i < 3; ++i) {
      mount_.Kill();
      ASSERT_TRUE(mount_.Start());
    }
  }
  Write(inner + "/d/file", "text");
  EXPECT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(replica_.tree() + "/d/file"), "text");
  ASSERT_TRUE(mount_.Unmount());
  EXPECT_EQ(DeviceOf(inner), bare);
  EXPECT_EQ(0, umount2(outer.c_str(), MNT_DETACH));  // the other is hidden until then
}

TEST_F(Invariant11NoSeams, ABindMountOfTheMountDoesNotMatter) {
  Begin();
  const std::string bound = scratch_.Directory("bound");
  ASSERT_EQ(0, mount(source_.c_str(), bound.c_str(), nullptr, MS_BIND, nullptr));
  KillAndStart(2);
  ExpectIdentical();
  DetachBelow(bound);
}

TEST_F(Invariant11NoSeams, StartedAgainWhileItRunsItTakesOver) {
  Begin();
  Mount second(mount_.options());
  {
    const Watch watch(source_, bare_);
    const Writer writer(source_ + "/d");
    Process held(Launch{{Program("tests/map_writer"), source_ + "/mapped", "2000", "held"}});
    ASSERT_TRUE(WaitFor([&] { return held.out() == "dirty\n"; }));
    ASSERT_TRUE(second.Start());
    EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
    // Between the two there is a moment at which neither can be asked.
    EXPECT_TRUE(second.Sync()) << second.process().err();
    ASSERT_TRUE(WaitFor([&] { return second.Tandem("status").code == 0; }))
        << second.process().err();
  }
  EXPECT_EQ(MountsBelow(source_).size(), 1u);
  Write(source_ + "/after", "after");
  EXPECT_TRUE(second.Sync());
  const Outcome verified = second.Verify({"--full"});
  EXPECT_EQ(verified.code, 0) << verified;
  const std::string mapped = Read(replica_.tree() + "/mapped");
  EXPECT_EQ(mapped.substr(mapped.size() - 4096, 4), "held");
  // What it was is written down: nothing is compared.
  EXPECT_EQ(second.process().err().find("reconcil"), std::string::npos) << second.process().err();
  ASSERT_TRUE(second.Unmount());
  EXPECT_EQ(DeviceOf(source_), bare_);
}

TEST_F(Invariant11NoSeams, TheOneThatIsToMakeRoomDiesInstead) {
  Begin();
  Mount second(mount_.options());
  {
    const Watch watch(source_, bare_);
    // They go on storing: the first has not ended when it is killed. Several, as one may get no
    // processor for as long as a pass takes.
    std::vector<std::unique_ptr<Process>> busy;
    for (int i = 0; i < 4; ++i) {
      const std::string file = source_ + "/busy" + std::to_string(i);
      busy.push_back(std::make_unique<Process>(
          Launch{{Program("tests/map_writer"), file, "10", "held", "--keep-storing"}}));
      ASSERT_TRUE(WaitFor([&] { return busy.back()->out() == "dirty\n"; }));
    }
    ASSERT_TRUE(second.Start());
    ASSERT_TRUE(WaitFor([&] { return MountsBelow(source_).size() == 2u; }));
    ASSERT_TRUE(WaitFor([this] {
      return mount_.process().err().find("takes over") != std::string::npos;
    })) << mount_.process().err();
    mount_.Kill();
    ASSERT_TRUE(WaitFor([&] { return second.Tandem("status").code == 0; }))
        << second.process().err();
  }
  EXPECT_TRUE(WaitFor([this] { return MountsBelow(source_).size() == 1u; }));
  Write(source_ + "/after", "after");
  EXPECT_TRUE(second.Sync());
  const Outcome verified = second.Verify({"--full"});
  EXPECT_EQ(verified.code, 0) << verified;
  ASSERT_TRUE(second.Unmount());
  EXPECT_EQ(DeviceOf(source_), bare_);
}

TEST_F(Invariant11NoSeams, OnlyTheSameVolumeIsTakenOver) {
  Begin();
  Mount::Options another = mount_.options();
  another.volume = "another";
  another.state = scratch_.Path("another");
  const Outcome refused = Execute(Mount::CommandOf(another), kPatience);
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find("is already mounted on " + source_), std::string::npos) << refused;
  EXPECT_TRUE(mount_.process().running());
  ExpectIdentical();
}

}  // namespace
}  // namespace tandem::test
