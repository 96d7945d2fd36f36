// Ways to mount, and ways to end: each leaves nothing behind, and none takes long.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

#include "meta/base/mount_table.h"
#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"
#include "tests/programs/lib/expected_errors.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

// What ends, ends within this time, whatever is open or away.
constexpr seconds kSoon{20};

class Mounting : public MountTest {
 protected:
  std::string At(const std::string& name) const { return mount_.path() + "/" + name; }
  bool IsMounted() const { return !MountsBelow(mount_.path()).empty(); }
  void ExpectEnded() {
    EXPECT_EQ(mount_.process().Wait(kSoon), 0) << mount_.process().err();
    EXPECT_FALSE(IsMounted());
  }
};

TEST_F(Mounting, SourceAndMountpointMayBeOneDirectory) {
  mount_.options().mountpoint = source_;
  Write(source_ + "/before", "before");
  ASSERT_TRUE(StartBoth());
  Write(source_ + "/after", "after");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(replica_.tree() + "/before"), "before");
  EXPECT_EQ(Read(replica_.tree() + "/after"), "after");
  // A dead one over its own source is cleared away.
  mount_.Kill();
  EXPECT_EQ(-1, open((source_ + "/after").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(workload::IsDisconnect(errno)) << strerror(errno);
  ASSERT_TRUE(mount_.Start());
  EXPECT_EQ(Read(source_ + "/after"), "after");
  ASSERT_TRUE(mount_.Unmount());
  EXPECT_TRUE(MountsBelow(source_).empty());
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
}

TEST_F(Mounting, ADeadMountIsClearedAwayAlsoWhereSeveralLieOverOneAnother) {
  ASSERT_TRUE(mount_.Start());
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  EXPECT_EQ(MountsBelow(mount_.path()).size(), 1u);
}

TEST_F(Mounting, EndsBySignal) {
  for (const int signal : {SIGTERM, SIGINT}) {
    ASSERT_TRUE(mount_.Start());
    Write(At("file"), "text");
    mount_.process().Signal(signal);
    ExpectEnded();
  }
}

TEST_F(Mounting, HangingUpEndsNeitherDaemon) {
  ASSERT_TRUE(StartBoth());
  for (Process* daemon : {&mount_.process(), &replica_.process()}) {
    daemon->Signal(SIGHUP);
    EXPECT_TRUE(WaitFor([&] { return daemon->err().find("SIGHUP") != std::string::npos; }));
  }
  Write(At("file"), "text");
  EXPECT_TRUE(Converges());
  // Not even while they end.
  mount_.process().Signal(SIGTERM);
  mount_.process().Signal(SIGHUP);
  ExpectEnded();
  replica_.process().Signal(SIGHUP);
  EXPECT_TRUE(replica_.Stop());
}

TEST_F(Mounting, EndsBySignalWhileFilesAreOpenAndTheReplicaIsAway) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const UniqueFd file(open(At("file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const UniqueFd list(open(mount_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(4, write(file.get(), "text", 4));
  Process busy(Launch{{"sh", "-c", "while echo x >> " + At("log") + "; do :; done"}});
  ASSERT_TRUE(WaitFor([&] { return access(At("log").c_str(), F_OK) == 0; }));
  replica_.Kill();
  mount_.process().Signal(SIGTERM);
  ExpectEnded();
  EXPECT_EQ(-1, write(file.get(), "more", 4));
  EXPECT_TRUE(workload::IsDisconnect(errno)) << strerror(errno);
  EXPECT_EQ(Read(source_ + "/file"), "text");
  busy.Signal(SIGKILL);
}

TEST_F(Mounting, EndsByUnmounting) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"fusermount3", "-u", mount_.path()},
        {"umount", mount_.path()},
        {"umount", "-l", mount_.path()},
        {"fusermount3", "-u", "-z", mount_.path()},
        {"umount", "-f", mount_.path()}}) {
    ASSERT_TRUE(mount_.Start());
    Write(At("file"), "text");
    EXPECT_EQ(Execute(command).code, 0) << command[0];
    ExpectEnded();
  }
}

// The kernel gives the id of a mount that is gone to the next one.
TEST_F(Mounting, AnotherMountThatHasItsIdNowIsLeftAlone) {
  ASSERT_TRUE(mount_.Start());
  const auto id_of = [](const std::string& path) {
    const auto stack = MountsAt(path);
    return stack && !stack->empty() ? stack->back().id : 0;
  };
  const int id = id_of(mount_.path());
  mount_.process().Signal(SIGSTOP);
  ASSERT_TRUE(WaitFor([this] { return mount_.process().stopped(); }));
  ASSERT_EQ(0, umount2(mount_.path().c_str(), MNT_DETACH));
  std::string other;
  for (int i = 0; i < 100 && other.empty(); ++i) {
    const std::string path = scratch_.Directory("other" + std::to_string(i));
    ASSERT_EQ(0, mount("tmpfs", path.c_str(), "tmpfs", 0, nullptr)) << strerror(errno);
    if (id_of(path) == id) other = path;
  }
  mount_.process().Signal(SIGCONT);
  EXPECT_EQ(mount_.process().Wait(kSoon), 0) << mount_.process().err();
  if (other.empty()) return;  // another test's mount was quicker
  EXPECT_EQ(id_of(other), id);
}

TEST_F(Mounting, AFileInUseHoldsUpUnmountingButNotItsLazyKind) {
  ASSERT_TRUE(mount_.Start());
  UniqueFd file(open(At("file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  EXPECT_NE(Execute({"umount", mount_.path()}).code, 0);
  EXPECT_NE(Execute({"fusermount3", "-u", mount_.path()}).code, 0);
  ASSERT_EQ(Execute({"umount", "-l", mount_.path()}).code, 0);
  EXPECT_FALSE(IsMounted());
  // As beneath: what is open goes on, and with it the filesystem.
  EXPECT_EQ(4, write(file.get(), "text", 4));
  EXPECT_TRUE(mount_.process().running());
  file.Reset();
  ExpectEnded();
  EXPECT_EQ(Read(source_ + "/file"), "text");
  // Or until it is told to.
  ASSERT_TRUE(mount_.Start());
  file.Reset(open(At("file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(Execute({"umount", "-l", mount_.path()}).code, 0);
  mount_.process().Signal(SIGTERM);
  ExpectEnded();
  EXPECT_EQ(-1, write(file.get(), "more", 4));
}

TEST_F(Mounting, MountsBelowTheSourceShowAreNotReplicatedAndStatusSaysSo) {
  const std::string below = source_ + "/with blank";
  stdfs::create_directories(below);
  Write(below + "/hidden", "hidden");
  ASSERT_EQ(0, mount("tmpfs", below.c_str(), "tmpfs", 0, nullptr)) << strerror(errno);
  Write(below + "/other", "of the other filesystem");
  ASSERT_TRUE(StartBoth());
  EXPECT_EQ(Read(At("with blank/other")), "of the other filesystem");
  Write(At("with blank/new"), "new");
  EXPECT_EQ(Read(below + "/new"), "new");
  EXPECT_NE(0, rename(At("with blank/new").c_str(), At("new").c_str()));
  EXPECT_EQ(errno, EXDEV);
  EXPECT_NE(0, rmdir(At("with blank").c_str()));
  EXPECT_EQ(errno, EBUSY);
  Write(At("file"), "replicated");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(replica_.tree() + "/file"), "replicated");
  EXPECT_FALSE(stdfs::exists(replica_.tree() + "/with blank/new"));
  EXPECT_FALSE(stdfs::exists(replica_.tree() + "/with blank/other"));
  EXPECT_EQ(mount_.Status()["not_replicated"], Json::array({below}));
  EXPECT_NE(mount_.Tandem("status").out.find("not replicated: " + below), std::string::npos);
  // One that comes later, and one on it.
  const std::string later = source_ + "/later";
  stdfs::create_directories(At("later"));  // so that the kernel remembers it
  ASSERT_EQ(0, mount("tmpfs", later.c_str(), "tmpfs", 0, nullptr)) << strerror(errno);
  Write(later + "/inside", "of the other filesystem");
  EXPECT_TRUE(WaitFor([this] { return stdfs::exists(At("later/inside")); }));
  stdfs::create_directories(later + "/on it");
  ASSERT_EQ(0, mount("tmpfs", (later + "/on it").c_str(), "tmpfs", 0, nullptr)) << strerror(errno);
  EXPECT_EQ(mount_.Status()["not_replicated"], Json::array({later, later + "/on it", below}));
  ASSERT_TRUE(mount_.Unmount());
  DetachBelow(below);
  DetachBelow(later);
}

TEST_F(Mounting, WhatIsMountedOnTheMountIsNotBelowTheSource) {
  mount_.options().mountpoint = source_;
  stdfs::create_directories(source_ + "/directory");
  ASSERT_TRUE(mount_.Start());
  ASSERT_EQ(0, mount("tmpfs", (source_ + "/directory").c_str(), "tmpfs", 0, nullptr));
  EXPECT_EQ(mount_.Status()["not_replicated"], Json::array());
  EXPECT_EQ(0, umount2((source_ + "/directory").c_str(), 0));
}

class SourceOnADisk : public Mounting {
 protected:
  void SetUp() override {
    Mounting::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(disk_.Make(64 << 20));
    ASSERT_TRUE(StartBoth());
    Write(At("file"), "text");
    ASSERT_TRUE(mount_.Sync());
  }
  LoopDisk disk_{scratch_, "disk", "ext4", source_};
};

TEST_F(SourceOnADisk, UnmountedLazilyBeneathItGoesOn) {
  ASSERT_EQ(0, umount2(source_.c_str(), MNT_DETACH));
  EXPECT_EQ(Read(At("file")), "text");
  Write(At("new"), "new");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(replica_.tree() + "/new"), "new");
  ASSERT_TRUE(mount_.Unmount());
}

// As it is without us: an object's blocks are not there for a moment longer than its name.
TEST_F(SourceOnADisk, WhatIsRemovedIsFreeAtOnce) {
  constexpr int kFiles = 100;
  constexpr size_t kSize = 256 << 10;
  for (int i = 0; i < kFiles; ++i) Write(At(std::to_string(i)), std::string(kSize, 'x'));
  const UniqueFd root(open(mount_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(0, syncfs(root.get()));
  ASSERT_TRUE(mount_.Sync());  // what is still to be sent is kept
  const auto free_bytes = [&] {
    struct statvfs statistics = {};
    EXPECT_EQ(0, fstatvfs(root.get(), &statistics));
    return statistics.f_bfree * statistics.f_frsize;
  };
  int late = 0;
  for (int i = 0; i < kFiles; ++i) {
    const auto before = free_bytes();
    EXPECT_EQ(0, unlink(At(std::to_string(i)).c_str()));
    if (free_bytes() < before + kSize / 2) ++late;
  }
  // The kernel may let us wait for the word that nobody uses the object any more.
  EXPECT_LE(late, 5);
}

TEST_F(SourceOnADisk, ShutDownBeneathItGivesErrorsAndEnds) {
  const UniqueFd open_file(open(At("file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(disk_.CutPower(false));
  const auto begin = Clock::now();
  EXPECT_EQ(-1, mkdir(At("directory").c_str(), 0755));
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(-1, open(At("new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(-1, pwrite(open_file.get(), "x", 1, 0));
  EXPECT_EQ(-1, fsync(open_file.get()));
  EXPECT_EQ(-1, unlink(At("file").c_str()));
  EXPECT_FALSE(mount_.Status().is_null());
  EXPECT_LT(Clock::now() - begin, kSoon);
  mount_.process().Signal(SIGTERM);
  EXPECT_TRUE(mount_.process().Wait(kSoon).has_value());
  EXPECT_FALSE(IsMounted());
}

// A filesystem that nobody can change, as for a snapshot, while this lives.
class Frozen {
 public:
  explicit Frozen(const std::string& directory)
      : fd_(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    EXPECT_EQ(0, ioctl(fd_.get(), FIFREEZE, 0)) << strerror(errno);
  }
  Frozen(Frozen&&) = delete;
  ~Frozen() { EXPECT_EQ(0, ioctl(fd_.get(), FITHAW, 0)) << strerror(errno); }

 private:
  const UniqueFd fd_;
};

TEST_F(SourceOnADisk, FrozenBeneathItHoldsUpNobodyButWriters) {
  constexpr int kWriters = 6;
  Write(At("other"), "other");
  ASSERT_TRUE(mount_.Sync());
  std::atomic<int> begun{0};
  std::atomic<int> done{0};
  std::vector<std::jthread> writers;
  std::optional<Frozen> frozen(source_);
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      const UniqueFd fd(open(At("file").c_str(), O_WRONLY | O_CLOEXEC));
      ++begun;
      EXPECT_EQ(pwrite(fd.get(), "x", 1, 10 + i), 1) << strerror(errno);
      ++done;
    });
  }
  EXPECT_TRUE(WaitFor([&] { return begun == kWriters; }));
  const auto begin = Clock::now();
  for (int i = 0; i < 500; ++i) {
    struct stat none;
    EXPECT_EQ(-1, stat(At("none" + std::to_string(i)).c_str(), &none));
    EXPECT_EQ(errno, ENOENT);
  }
  EXPECT_EQ(Read(At("other")), "other");
  EXPECT_LT(Clock::now() - begin, kSoon);
  EXPECT_EQ(done, 0);
  frozen.reset();
  writers.clear();
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
}

// ---- mount(8)
// ------------------------------------------------------------------------------------

// mount(8) runs mount.fuse3 with an environment of its own: the program is looked for where
// programs are installed.
class ByMount : public Mounting {
 protected:
  static constexpr char kInstalled[] = "/usr/local/sbin/tandemfs";

  void SetUp() override {
    Mounting::SetUp();
    if (IsSkipped()) return;
    // Left by a test that was killed, perhaps; what somebody installed stays.
    if (stdfs::is_symlink(kInstalled)) unlink(kInstalled);
    if (symlink(Program("tandemfs").c_str(), kInstalled) != 0) {
      GTEST_SKIP() << kInstalled << ": " << strerror(errno);
    }
    installed_ = true;
  }
  void TearDown() override {
    DetachBelow(mount_.path());
    if (installed_) unlink(kInstalled);
  }

  Outcome MountBy(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "mount");
    return Execute(std::move(arguments));
  }
  std::string Options(const std::string& more) const {
    return "volume=v,state=" + scratch_.Path("state") + ",replica=one=" + replica_.url() + more;
  }
  unsigned long Flags() const {
    struct statvfs statistics = {};
    statvfs(mount_.path().c_str(), &statistics);
    return statistics.f_flag;
  }
  bool Ends() {
    return Execute({"umount", mount_.path()}).code == 0 && WaitFor([&] {
             return Execute({"flock", "-n", source_, "true"}).code == 0;  // it holds a lock there
           });
  }

  bool installed_ = false;
};

TEST_F(ByMount, OptionsMeanWhatTheyMeanElsewhere) {
  ASSERT_TRUE(replica_.Start());
  const Outcome mounted =
      MountBy({"-t", "fuse.tandemfs", source_, mount_.path(), "-o", Options(",noatime")});
  ASSERT_EQ(mounted.code, 0) << mounted;
  EXPECT_NE(Flags() & ST_NOATIME, 0u);
  Write(At("file"), "text");
  chmod(mount_.path().c_str(), 0755);
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(replica_.tree("v") + "/file"), "text");
  // allow_other is the default for root.
  ASSERT_EQ(0, chmod(scratch_.path().c_str(), 0755));
  Launch as_nobody{{"cat", At("file")}};
  as_nobody.user = 65'534;
  EXPECT_EQ(Execute(as_nobody).out, "text");
  ASSERT_TRUE(Ends());
  // ro, and remembered replicas.
  ASSERT_EQ(MountBy({"-t", "fuse.tandemfs", "-r", source_, mount_.path(), "-o",
                     "nodev,nosuid,volume=v,state=" + scratch_.Path("state")})
                .code,
            0);
  EXPECT_EQ(Flags() & (ST_RDONLY | ST_NODEV | ST_NOSUID),
            static_cast<unsigned long>(ST_RDONLY | ST_NODEV | ST_NOSUID));
  EXPECT_EQ(-1, open(At("new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  EXPECT_EQ(errno, EROFS);
  EXPECT_TRUE(mount_.Sync());
  ASSERT_TRUE(Ends());
  ASSERT_EQ(
      MountBy({"-t", "fuse.tandemfs", source_, mount_.path(), "-o", Options(",dev,suid")}).code, 0);
  EXPECT_EQ(Flags() & (ST_RDONLY | ST_NODEV | ST_NOSUID), 0u);
  EXPECT_TRUE(Ends());
}

TEST_F(ByMount, NoatimeGoesForTheDirectoryBeneathToo) {
  const auto accessed = [this](const std::string& name) {
    struct stat found = {};
    stat((source_ + "/" + name).c_str(), &found);
    return found.st_atim.tv_sec;
  };
  constexpr timespec kLongAgo[2] = {{1'000'000'000, 0}, {0, UTIME_OMIT}};
  const auto read_all = [&](const std::string& options) {
    for (const char* name : {"directory", "directory/file"}) {
      ASSERT_EQ(0, utimensat(AT_FDCWD, (source_ + "/" + name).c_str(), kLongAgo, 0));
    }
    ASSERT_EQ(MountBy({"-t", "fuse.tandemfs", source_, mount_.path(), "-o", Options(options)}).code,
              0);
    EXPECT_EQ(Read(At("directory/file")), "text");
    EXPECT_EQ(Execute({"ls", At("directory")}).out, "file\n");
    EXPECT_TRUE(Ends());
  };
  std::filesystem::create_directory(source_ + "/directory");
  Write(source_ + "/directory/file", "text");
  read_all(",noatime");
  EXPECT_EQ(accessed("directory"), 1'000'000'000);
  EXPECT_EQ(accessed("directory/file"), 1'000'000'000);
  read_all("");
  EXPECT_GT(accessed("directory"), 1'000'000'000);
  EXPECT_GT(accessed("directory/file"), 1'000'000'000);
}

// libfuse ends a session whose option says otherwise than its INIT: after it was called mounted.
TEST_F(ByMount, TheLargestReadMayBeChosen) {
  const std::string content(1 << 20, 'x');
  Write(source_ + "/file", content);
  for (const char* const most : {"1", "5000", "131072", "100000000"}) {
    ASSERT_EQ(MountBy({"-t", "fuse.tandemfs", source_, mount_.path(), "-o",
                       Options(std::string(",max_read=") + most)})
                  .code,
              0);
    EXPECT_EQ(Read(At("file")), content) << most;
    EXPECT_TRUE(Ends());
  }
}

TEST_F(ByMount, ALineOfFstabIsEnough) {
  ASSERT_TRUE(replica_.Start());
  const std::string fstab = scratch_.Path("fstab");
  Write(fstab, source_ + " " + mount_.path() + " fuse.tandemfs " +
                   Options(",rw,nofail,x-systemd.requires=network.target,_netdev,noauto") +
                   " 0 0\n");
  const Outcome mounted = MountBy({"--fstab", fstab, mount_.path()});
  ASSERT_EQ(mounted.code, 0) << mounted;
  Write(At("file"), "text");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(replica_.tree("v") + "/file"), "text");
  EXPECT_TRUE(Ends());
}

TEST_F(ByMount, WhatCannotBeMountedIsSaidAndLeavesNothing) {
  for (const std::string& options :
       {std::string("nosuchoption=1"), std::string("interval=x"), "state=" + source_ + "/state"}) {
    const Outcome mounted = MountBy({"-t", "fuse.tandemfs", source_, mount_.path(), "-o", options});
    EXPECT_NE(mounted.code, 0) << options;
    EXPECT_NE(mounted.err.find("tandemfs:"), std::string::npos) << mounted;
    EXPECT_FALSE(IsMounted());
  }
}

// ---- Users
// ---------------------------------------------------------------------------------------

}  // namespace
}  // namespace tandem::test
