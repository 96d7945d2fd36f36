// Sources whose objects are found by their names: overlays and ramfs, whose handles cannot be
// opened, and any other without CAP_DAC_READ_SEARCH.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/files.h"
#include "tests/mount_fixture.h"
#include "tests/overlay.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

struct Kind {
  const char* name;
  const char* filesystem;  // "overlay", what mount takes; none: the scratch directory's own
};

void PrintTo(const Kind& kind, std::ostream* stream) { *stream << kind.name; }

class ByNames : public MountTest, public testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    const std::string filesystem = GetParam().filesystem;
    if (filesystem == "overlay") {
      stdfs::create_directories(overlay_.lower() + "/lower/below");
      Write(overlay_.lower() + "/low", "of the lower layer");
      Write(overlay_.lower() + "/kept", "of the lower layer, too");
      Write(overlay_.lower() + "/lower/file", "below");
      Write(overlay_.lower() + "/lower/below/file", "deeper");
      ASSERT_TRUE(overlay_.Make());
    } else if (!filesystem.empty()) {
      ASSERT_EQ(::mount("source", source_.c_str(), filesystem.c_str(), 0, nullptr), 0);
      // Of times that ext4 cannot hold a replica there falls short.
      stdfs::create_directories(replica_.store());
      ASSERT_EQ(::mount("store", replica_.store().c_str(), "tmpfs", 0, nullptr), 0);
    }
    // Also where root could open handles.
    mount_.options().under = {"setpriv", "--bounding-set=-dac_read_search", "--inh-caps=-all"};
  }
  void TearDown() override {
    mount_.Kill();
    umount2(source_.c_str(), MNT_DETACH);
  }

  std::string In(const std::string& name) const { return mount_.path() + "/" + name; }
  testing::AssertionResult IsIdentical() {
    if (auto converged = Converges(); !converged) return converged;
    const Outcome verified = mount_.Verify({"--full"});
    if (verified.code == 0) return testing::AssertionSuccess();
    return testing::AssertionFailure() << verified;
  }
  void Fill(const std::string& directory, int files) const {
    stdfs::create_directories(directory);
    for (int i = 0; i < files; ++i) {
      Write(directory + "/" + std::to_string(i), std::to_string(i));
    }
  }

  Overlay overlay_{scratch_, source_};
};

INSTANTIATE_TEST_SUITE_P(, ByNames,
                         testing::Values(Kind{"Overlay", "overlay"}, Kind{"Ramfs", "ramfs"},
                                         Kind{"WithoutCapability", ""}),
                         [](const auto& suite) { return std::string(suite.param.name); });

TEST_P(ByNames, WhatIsThereAndWhatIsChangedArrives) {
  Fill(source_ + "/before/deep", 300);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(IsIdentical());
  // Not made through the mount, but changed through it.
  Write(In("before/deep/7"), "changed");
  WriteAt(In("before/deep/8"), 0, "X");
  ASSERT_EQ(chmod(In("before/deep/9").c_str(), 0600), 0);
  stdfs::remove(In("before/deep/10"));
  stdfs::rename(In("before/deep/11"), In("eleven"));
  stdfs::create_hard_link(In("before/deep/12"), In("twelve"));
  stdfs::remove(In("before/deep/12"));
  Write(In("twelve"), "by its other name");
  ASSERT_TRUE(IsIdentical());
  // A directory with much in it, and then something in it.
  stdfs::rename(In("before"), In("after"));
  Write(In("after/deep/13"), "in the renamed one");
  stdfs::create_directory(In("above"));
  stdfs::rename(In("after"), In("above/after"));
  Write(In("above/after/deep/14"), "in the moved one");
  ASSERT_TRUE(IsIdentical());
  EXPECT_EQ(mount_.State(), "current");
}

TEST_P(ByNames, ChangesWhileItIsSeededArrive) {
  constexpr int kFiles = 1500;
  for (const char* directory : {"a", "b", "c", "d"}) Fill(source_ + "/" + directory, kFiles);
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Start());
  for (int i = 0; i < kFiles; i += 3) {
    const std::string number = std::to_string(i);
    Write(In("a/" + number), "written");
    stdfs::remove(In("b/" + number));
    stdfs::rename(In("c/" + number), In("c/renamed" + number));
    if (i % 300 == 0) stdfs::rename(In("d"), In("e"));
    if (i % 300 == 0) stdfs::rename(In("e"), In("d"));
  }
  stdfs::rename(In("d"), In("a/d"));
  ASSERT_TRUE(IsIdentical());
}

TEST_P(ByNames, AKillUnderLoadLeadsToTheSameTree) {
  const uint64_t seed = FreshSeed();
  Fill(source_ + "/many", 500);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  for (int round = 0; round < Times(3, 30); ++round) {
    Process workload(
        Workload(mount_.path(), seed + static_cast<uint64_t>(round),
                 {"--seconds", "0", "--threads", "2", "--tolerate-disconnect", "--max-objects",
                  "600", "--max-file-bytes", "1M", "--max-total-bytes", "60M"}));
    std::this_thread::sleep_for(milliseconds(700));  // a moment is what is random here
    mount_.Kill();
    EXPECT_TRUE(StopWorkload(workload));
    ASSERT_TRUE(mount_.Start());
    ASSERT_TRUE(IsIdentical()) << "round " << round;
  }
}

// The rows say where it was.
TEST_P(ByNames, WhatWasRenamedBeforeAKillIsFound) {
  Fill(source_ + "/a", 200);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  replica_.Kill();
  for (int i = 0; i < 200; ++i) WriteAt(In("a/" + std::to_string(i)), 0, "changed");
  stdfs::rename(In("a"), In("b"));
  stdfs::rename(In("b/1"), In("1"));
  stdfs::remove(In("b/2"));
  mount_.Kill();
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsIdentical());
}

TEST_P(ByNames, AfterACleanEndNothingIsCompared) {
  Fill(source_ + "/many", 300);
  ASSERT_TRUE(StartBoth());
  Write(In("many/1"), "changed");
  ASSERT_TRUE(mount_.Sync());
  replica_.Kill();
  Write(In("many/2"), "while it is away");
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Start());
  Write(In("many/3"), "after");
  ASSERT_TRUE(IsIdentical());
  for (const char* state : {"seeding", "reconciling"}) {
    EXPECT_EQ(mount_.process().err().find("replica one: " + std::string(state)), std::string::npos)
        << mount_.process().err();
  }
}

TEST_P(ByNames, FilesWithoutANameHoldNothingUp) {
  Fill(source_ + "/many", 300);
  ASSERT_TRUE(StartBoth());
  Write(In("removed"), "text");
  const UniqueFd removed(open(In("removed").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(mount_.Sync());
  stdfs::remove(In("removed"));
  const UniqueFd nameless(open(mount_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(write(removed.get(), "more", 4), 4);
    if (nameless.valid()) {
      ASSERT_EQ(write(nameless.get(), "more", 4), 4);
    }
    Write(In("many/" + std::to_string(i)), "changed");
    ASSERT_TRUE(mount_.Sync());
  }
  if (nameless.valid()) {
    const std::string path = "/proc/self/fd/" + std::to_string(nameless.get());
    ASSERT_EQ(linkat(AT_FDCWD, path.c_str(), AT_FDCWD, In("named").c_str(), AT_SYMLINK_FOLLOW), 0);
  }
  ASSERT_TRUE(IsIdentical());
}

// More objects than the process may have descriptors.
TEST_P(ByNames, ObjectsTheKernelRemembersNeedNoDescriptors) {
  constexpr int kFiles = 3000;
  Fill(source_ + "/many", kFiles);
  ASSERT_TRUE(replica_.Start());
  mount_.options().under.insert(mount_.options().under.begin(), {"prlimit", "--nofile=1024:1024"});
  ASSERT_TRUE(mount_.Start());
  for (int i = 0; i < kFiles; ++i) Lstat(In("many/" + std::to_string(i)));
  const std::string descriptors = "/proc/" + std::to_string(mount_.process().pid()) + "/fd";
  EXPECT_LT(std::distance(stdfs::directory_iterator(descriptors), stdfs::directory_iterator()),
            1000);
  stdfs::rename(In("many"), In("more"));
  for (int i = 0; i < kFiles; i += 7) {
    ASSERT_EQ(Read(In("more/" + std::to_string(i))), std::to_string(i));
  }
  for (int i = 0; i < kFiles; i += 7) Write(In("more/" + std::to_string(i)), "changed");
  for (int i = 0; i < kFiles; ++i) {  // as git makes its objects
    const std::string old_name = In("more/" + std::to_string(i));
    ASSERT_EQ(link(old_name.c_str(), In("more/link" + std::to_string(i)).c_str()), 0);
    ASSERT_EQ(unlink(old_name.c_str()), 0);
  }
  ASSERT_TRUE(IsIdentical());
}

// ramfs has no O_DIRECT, and says so when it has made the file.
TEST_P(ByNames, AFileThatAFailedOpenLeavesBehindIsThereAndArrives) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const UniqueFd file(open(In("direct").c_str(), O_CREAT | O_WRONLY | O_DIRECT | O_CLOEXEC, 0644));
  EXPECT_EQ(file.valid(), std::string(GetParam().filesystem) != "ramfs");
  EXPECT_TRUE(stdfs::exists(source_ + "/direct"));
  EXPECT_TRUE(WaitFor([&] { return stdfs::exists(In("direct")); }));
  ASSERT_TRUE(IsIdentical());
}

// Where an offset in a directory counts entries, each listing needs a stream of its own.
TEST_P(ByNames, WhatIsRemovedWhileItIsListedIsListedOnce) {
  ASSERT_TRUE(StartBoth());
  constexpr int kFiles = 2000;
  const std::string directory = mount_.path() + "/emptied";
  ASSERT_EQ(0, mkdir(directory.c_str(), 0755));
  for (int i = 0; i < kFiles; ++i) {
    ASSERT_EQ(0, mknod((directory + "/f" + std::to_string(i)).c_str(), S_IFREG | 0644, 0));
  }
  DIR* const list = opendir(directory.c_str());
  ASSERT_NE(list, nullptr);
  int removed = 0;
  while (const dirent* entry = readdir(list)) {
    if (entry->d_name[0] == '.') continue;
    EXPECT_EQ(0, unlinkat(dirfd(list), entry->d_name, 0)) << entry->d_name;
    if (++removed % 100 == 0) {
      DIR* const another = opendir(directory.c_str());  // that begins meanwhile
      EXPECT_NE(readdir(another), nullptr);
      closedir(another);
    }
  }
  closedir(list);
  EXPECT_EQ(removed, kFiles);
  EXPECT_EQ(0, rmdir(directory.c_str())) << strerror(errno);
}

TEST_P(ByNames, DeepTreesArrive) {
  ASSERT_TRUE(StartBoth());
  const std::string name(120, 'd');
  UniqueFd directory(open(mount_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 60; ++i) {  // longer than PATH_MAX
    ASSERT_EQ(mkdirat(directory.get(), name.c_str(), 0755), 0);
    directory.Reset(openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(directory.valid());
  }
  const UniqueFd file(openat(directory.get(), "file", O_CREAT | O_RDWR | O_CLOEXEC, 0644));
  ASSERT_EQ(write(file.get(), "deep", 4), 4);
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(pwrite(file.get(), "DEEP", 4, 0), 4);
  ASSERT_EQ(renameat(AT_FDCWD, In(name).c_str(), AT_FDCWD, In("top").c_str()), 0);
  ASSERT_TRUE(mount_.Sync());
  const Outcome verified = mount_.Verify({"--full"});
  EXPECT_EQ(verified.code, 0) << verified;
  // The scratch directory's own remover takes no such path.
  EXPECT_EQ(Execute({"rm", "-rf", In("top")}).code, 0);
  ASSERT_TRUE(mount_.Sync());
}

class OnOverlay : public ByNames {};
INSTANTIATE_TEST_SUITE_P(, OnOverlay, testing::Values(Kind{"Overlay", "overlay"}),
                         [](const auto& suite) { return std::string(suite.param.name); });

TEST_P(OnOverlay, WhatIsCopiedToTheUpperLayerStaysItself) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  Write(In("low"), "changed");
  ASSERT_EQ(chmod(In("kept").c_str(), 0600), 0);
  Write(In("lower/new"), "in a directory of the lower layer");
  stdfs::remove(In("lower/file"));
  ASSERT_TRUE(IsIdentical());
}

// A file that was copied up has another identity once the kernel has forgotten it.
TEST_P(OnOverlay, WhatGetsAnotherIdentityIsCarriedOn) {
  ASSERT_TRUE(StartBoth());
  Write(In("low"), "copied up");
  Write(In("lower/file"), "copied up, and not touched again");
  ASSERT_EQ(chmod(In("kept").c_str(), 0600), 0);
  ASSERT_TRUE(mount_.Sync());
  replica_.Kill();
  WriteAt(In("kept"), 0, "copied up, and pending");
  // What was changed last is looked at after a clean end; let that be something else.
  for (int i = 0; i < 300; ++i) Write(In("later" + std::to_string(i)), "text");
  for (int i = 0; i < 300; ++i) chmod(In("later" + std::to_string(i)).c_str(), 0600);
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(overlay_.Restart());
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Start());
  WriteAt(In("low"), 0, "again");
  ASSERT_TRUE(IsIdentical());
  mount_.Kill();
  umount2(mount_.path().c_str(), MNT_DETACH);
  ASSERT_TRUE(overlay_.Restart());
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(IsIdentical());
}

}  // namespace
}  // namespace tandem::test
