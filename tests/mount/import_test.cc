// tandemd import: a copy that came by another way is adopted, and seeding moves only what differs.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "meta/base/fault_point.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

constexpr int kFiles = 200;
constexpr size_t kFileBytes = 20'000;

class Import : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    for (int i = 0; i < kFiles; ++i) {
      const std::string below = source_ + "/" + std::to_string(i % 7) + "/sub";
      stdfs::create_directories(below);
      Write(below + "/" + std::to_string(i), RandomBytes(kFileBytes, static_cast<uint64_t>(i)));
    }
    Write(source_ + "/big", RandomBytes(2'000'000, 77));
    stdfs::create_symlink("big", source_ + "/symlink");
    stdfs::create_hard_link(source_ + "/1/sub/1", source_ + "/2/other name of 1");
    const std::string marked = source_ + "/3/sub/3";
    ASSERT_EQ(0, setxattr(marked.c_str(), "user.mark", "value", 5, 0));
    Write(source_ + "/odd \n\xff name", "odd");
    stdfs::create_directory(source_ + "/every");
    MakeEveryKind(source_ + "/every");
    CopySource();
  }

  void CopySource() {
    const Outcome copied = Execute({"cp", "-a", source_, copy_});
    ASSERT_EQ(copied.code, 0) << copied;
  }
  Outcome RunImport(std::vector<std::string> more = {},
                    std::map<std::string, std::string> environment = {}) {
    std::vector<std::string> command = {Program("tandemd"), "import", Volume(), copy_};
    command.insert(command.end(), more.begin(), more.end());
    return Execute(Launch{std::move(command), std::move(environment)});
  }
  std::string Volume() const { return replica_.store() + "/" + kVolume; }
  ino_t InodeInTree(const std::string& name) { return Lstat(replica_.tree() + "/" + name).st_ino; }
  void ExpectAllIsThere() {
    EXPECT_TRUE(Converges());
    const Outcome verified = mount_.Verify({"--full"});
    EXPECT_EQ(verified.code, 0) << verified;
  }

  const std::string copy_ = scratch_.path() + "/copy";
};

TEST_F(Import, OnlyWhatDiffersIsSent) {
  // Another time with the same size, a change in a large file, one removed, one new.
  WriteAt(source_ + "/0/sub/7", 100, "changed");
  WriteAt(source_ + "/big", 1'000'000, "changed");
  stdfs::remove(source_ + "/4/sub/4");
  Write(source_ + "/new", RandomBytes(1000, 99));
  const std::vector<std::string> same = {"1/sub/1", "2/other name of 1", "3/sub/3",
                                         "5/sub/5", "symlink",           "6/sub",
                                         "big",     "0/sub/7",           "every"};
  std::map<std::string, ino_t> before;
  for (const std::string& name : same) before[name] = Lstat(copy_ + "/" + name).st_ino;

  const Outcome imported = RunImport();
  ASSERT_EQ(imported.code, 0) << imported;
  EXPECT_FALSE(stdfs::exists(copy_));
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  // Of about six megabytes.
  EXPECT_LT(mount_.SentBytes(), 150'000u);
  ExpectAllIsThere();
  for (const auto& [name, inode] : before) EXPECT_EQ(InodeInTree(name), inode) << name;
  // It goes on as any other volume.
  Write(mount_.path() + "/later", "later");
  EXPECT_TRUE(Converges());
  ASSERT_TRUE(replica_.Stop());
  ASSERT_TRUE(replica_.Start());
  ExpectAllIsThere();
}

// What was not written by a redo has no digests, under whichever id.
TEST_F(Import, OfWhatIsImportedAScrubKnowsNoContentAndGivesNoFalseAlarm) {
  ASSERT_EQ(RunImport().code, 0);
  const auto scrub = [this] { return Execute({Program("tandemd"), "scrub", replica_.store()}); };
  EXPECT_EQ(scrub().code, 8) << "it waits for its source";
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const Outcome after = scrub();
  EXPECT_EQ(after.code, 0) << after;
  EXPECT_THAT(after.out, HasSubstr("unknown"));
}

TEST_F(Import, OfAnEarlierTimeTheSourceIsFollowed) {
  // Directories and files changed places and kinds.
  stdfs::rename(source_ + "/0", source_ + "/moved");
  stdfs::rename(source_ + "/1/sub/1", source_ + "/1/1");
  stdfs::remove(source_ + "/big");
  stdfs::create_directory(source_ + "/big");
  stdfs::remove(source_ + "/symlink");
  stdfs::create_symlink("elsewhere", source_ + "/symlink");
  stdfs::remove_all(source_ + "/5");
  Write(source_ + "/5", "a file now");
  ASSERT_EQ(RunImport().code, 0);
  ASSERT_TRUE(StartBoth());
  ExpectAllIsThere();
}

TEST_F(Import, LinksMadeOrLostByTheCopyAreRight) {
  stdfs::remove(copy_ + "/2/other name of 1");
  stdfs::copy_file(copy_ + "/1/sub/1", copy_ + "/2/other name of 1");
  stdfs::remove(copy_ + "/3/sub/10");
  stdfs::create_hard_link(copy_ + "/2/sub/9", copy_ + "/3/sub/10");
  ASSERT_EQ(RunImport().code, 0);
  ASSERT_TRUE(StartBoth());
  ExpectAllIsThere();
  EXPECT_EQ(InodeInTree("1/sub/1"), InodeInTree("2/other name of 1"));
}

class ImportOfOtherContent : public Import {
 protected:
  void SetUp() override {
    Import::SetUp();
    if (IsSkipped()) return;
    for (const std::string name : {"/5/sub/5", "/big"}) {
      const struct stat before = Lstat(copy_ + name);
      WriteAt(copy_ + name, 5000, "other content");
      SetTimes(copy_ + name, before.st_atim, before.st_mtim);
    }
  }
};

TEST_F(ImportOfOtherContent, IsKeptIfSizeAndTimeAreEqual) {
  ASSERT_EQ(RunImport().code, 0);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_NE(Read(replica_.tree() + "/5/sub/5"), Read(source_ + "/5/sub/5"));
  EXPECT_EQ(mount_.Verify({"--full"}).code, 4);
}

TEST_F(ImportOfOtherContent, IsFoundIfAskedFor) {
  const Outcome imported = RunImport({"--content"});
  ASSERT_EQ(imported.code, 0) << imported;
  ASSERT_TRUE(StartBoth());
  ExpectAllIsThere();
}

// ---- Interruptions -----------------------------------------------------------------------------

TEST_F(Import, KilledAtAnyTimeAndRepeatedItIsComplete) {
  for (int i = 0; i < 20'000; ++i) Write(source_ + "/4/" + std::to_string(i), "");
  stdfs::remove_all(copy_);
  CopySource();
  int killed = 0;
  for (int delay = 1; delay < 4000; delay += delay) {
    Process import(Launch{{Program("tandemd"), "import", Volume(), copy_}});
    if (import.Wait(milliseconds(delay))) break;
    import.Signal(SIGKILL);
    import.Wait();
    ++killed;
    ASSERT_TRUE(stdfs::exists(copy_ + "/big") || stdfs::exists(replica_.tree() + "/big"));
  }
  EXPECT_GT(killed, 0);
  if (!stdfs::exists(Volume() + "/volume")) {
    const Outcome repeated = RunImport();
    ASSERT_EQ(repeated.code, 0) << repeated;
  }
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  // That is what 20,000 files are called, and their attributes.
  EXPECT_LT(mount_.SentBytes(), 3'500'000u);
  ExpectAllIsThere();
}

#if defined(TANDEM_FAULT_POINTS)
class ImportFaults : public Import, public ::testing::WithParamInterface<std::string_view> {};

TEST_P(ImportFaults, KilledThereAndRepeatedItIsComplete) {
  const std::string point(GetParam());
  ASSERT_EQ(RunImport({}, {{"TANDEM_FAULT", point}}).code, 128 + SIGKILL);
  // A daemon that starts between takes nothing away.
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(replica_.Stop());
  ASSERT_TRUE(stdfs::exists(copy_ + "/big") || stdfs::exists(replica_.tree() + "/big"));
  if (!stdfs::exists(Volume() + "/volume")) {
    const Outcome repeated = RunImport();
    ASSERT_EQ(repeated.code, 0) << repeated;
  }
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_LT(mount_.SentBytes(), 150'000u);
  ExpectAllIsThere();
}

INSTANTIATE_TEST_SUITE_P(Invariant4Repeatable, ImportFaults,
                         ::testing::ValuesIn(kImportFaultPoints), [](const auto& info) {
                           std::string name(info.param);
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });
#endif

TEST_F(Import, TheReplicaIsKilledDuringTheFirstSession) {
  WriteAt(source_ + "/big", 1'000'000, "changed");
  ASSERT_EQ(RunImport().code, 0);
  ASSERT_TRUE(StartBoth());
  for (int delay = 5; delay < 400; delay *= 2) {
    (void)replica_.process().Wait(milliseconds(delay));
    replica_.Kill();
    ASSERT_TRUE(replica_.Start());
  }
  ExpectAllIsThere();
}

// ---- What is refused ---------------------------------------------------------------------------

TEST_F(Import, IsRefusedWhileADaemonRuns) {
  ASSERT_TRUE(replica_.Start());
  const Outcome refused = RunImport();
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("another tandemd uses it"));
  EXPECT_TRUE(stdfs::exists(copy_ + "/big"));
}

TEST_F(Import, IsRefusedIfThereIsSuchAVolume) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(replica_.Stop());
  const Outcome refused = RunImport();
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("there is such a volume"));
  EXPECT_TRUE(stdfs::exists(copy_ + "/big"));
}

TEST_F(Import, IsRefusedIfAFileHasANameOutside) {
  stdfs::create_hard_link(copy_ + "/big", scratch_.path() + "/outside");
  const Outcome refused = RunImport();
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("hard links outside"));
  EXPECT_TRUE(stdfs::exists(copy_ + "/big"));
  EXPECT_FALSE(stdfs::exists(Volume()));
}

TEST_F(Import, IsRefusedIfSomethingIsMountedInIt) {
  const std::string inside = copy_ + "/1";
  ASSERT_EQ(0, mount("none", inside.c_str(), "tmpfs", 0, nullptr));
  const Outcome refused = RunImport();
  EXPECT_EQ(0, umount2(inside.c_str(), MNT_DETACH));
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("something is mounted there"));
  EXPECT_FALSE(stdfs::exists(Volume()));
}

TEST_F(Import, IsRefusedOnAnotherFilesystem) {
  stdfs::remove_all(copy_);
  stdfs::create_directory(copy_);
  ASSERT_EQ(0, mount("none", copy_.c_str(), "tmpfs", 0, nullptr));
  stdfs::create_directory(copy_ + "/in");
  const Outcome refused = Execute({Program("tandemd"), "import", Volume(), copy_ + "/in"});
  EXPECT_EQ(0, umount2(copy_.c_str(), MNT_DETACH));
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("another filesystem"));
}

TEST_F(Import, OfAVolumeOrTheStoreItselfIsRefused) {
  ASSERT_EQ(RunImport().code, 0);
  for (const std::string& directory : {replica_.tree(), replica_.store(), scratch_.path()}) {
    const Outcome refused =
        Execute({Program("tandemd"), "import", replica_.store() + "/other", directory});
    EXPECT_EQ(refused.code, 2) << directory;
    EXPECT_TRUE(stdfs::exists(replica_.tree() + "/big"));
  }
}

TEST_F(Import, OfAMountedSourceIsRefused) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(replica_.Stop());
  const Outcome refused =
      Execute({Program("tandemd"), "import", replica_.store() + "/other", source_});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("tandemfs whose source it is"));
}

TEST_F(Import, IsOwnedByTheFirstSource) {
  ASSERT_EQ(RunImport().code, 0);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  Mount::Options options = OptionsOf("second");
  options.source = scratch_.Directory("other source");
  Mount second(options);
  ASSERT_TRUE(second.Start());
  EXPECT_TRUE(second.WaitForState("blocked"));
  EXPECT_THAT(second.ReplicaError(), HasSubstr("belongs to another source"));
}

}  // namespace
}  // namespace tandem::test
