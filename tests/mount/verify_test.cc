// tandem verify finds each kind of difference on a replica's disk, names it, and mends it.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <set>
#include <sstream>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

struct Planted {
  std::string name;
  std::string path;  // where verify must say it is
  std::string kind;  // what verify must call it
  std::function<void(const std::string& tree)> plant;
  bool shows = true;  // in what a quick verify looks at
};

void PrintTo(const Planted& planted, std::ostream* stream) { *stream << planted.name; }

void KeepingTimes(const std::string& path, const std::function<void()>& change) {
  const struct stat before = Lstat(path);
  change();
  SetTimes(path, before.st_atim, before.st_mtim);
}

// What is done in a directory without its times telling.
void InDirectory(const std::string& directory, const std::function<void()>& change) {
  KeepingTimes(directory, change);
}

void FlipByte(const std::string& tree) {
  const std::string path = tree + "/dir/deeper/large";
  KeepingTimes(path, [&] {
    const std::string bytes = Read(path);
    WriteAt(path, 1'500'000, std::string(1, static_cast<char>(bytes[1'500'000] ^ 1)));
  });
}

void BreakHardLink(const std::string& tree) {
  const std::string path = tree + "/dir/hard-link";
  InDirectory(tree + "/dir", [&] {
    const std::string copy = path + ".copy";
    ASSERT_EQ(Execute({"cp", "-a", path, copy}).code, 0);
    stdfs::rename(copy, path);
  });
}

void ReplaceSymlink(const std::string& tree) {
  const std::string path = tree + "/symlink";
  const struct stat before = Lstat(path);
  InDirectory(tree, [&] {
    stdfs::remove(path);
    stdfs::create_symlink("elsewhere", path);
  });
  SetTimes(path, before.st_atim, before.st_mtim);
}

void Truncate(const std::string& tree) {
  const std::string path = tree + "/file";
  KeepingTimes(path, [&] { ASSERT_EQ(0, truncate(path.c_str(), 1000)); });
}

void ChangeKind(const std::string& tree) {
  InDirectory(tree, [&] {
    stdfs::remove(tree + "/empty");
    stdfs::create_directory(tree + "/empty");
  });
}

void RemoveName(const std::string& tree) {
  InDirectory(tree + "/dir", [&] { stdfs::remove(tree + "/dir/text"); });
}

void RemoveSubtree(const std::string& tree) {
  InDirectory(tree + "/dir", [&] { stdfs::remove_all(tree + "/dir/deeper"); });
}

void AddName(const std::string& tree) {
  InDirectory(tree + "/dir/deeper", [&] { Write(tree + "/dir/deeper/extra", "extra"); });
}

void AddDirectory(const std::string& tree) {
  InDirectory(tree, [&] {
    stdfs::create_directory(tree + "/extra-directory");
    Write(tree + "/extra-directory/file", "extra");
  });
}

void Rename(const std::string& tree) {
  InDirectory(tree, [&] { stdfs::rename(tree + "/suid", tree + "/another-name"); });
}

void ChangeMode(const std::string& tree) { ASSERT_EQ(0, chmod((tree + "/file").c_str(), 0600)); }

void ChangeOwner(const std::string& tree) {
  ASSERT_EQ(0, lchown((tree + "/dangling").c_str(), 70, 80));
}

void ChangeTime(const std::string& tree) {
  const std::string path = tree + "/fifo";
  const struct stat before = Lstat(path);
  SetTimes(path, before.st_atim, {before.st_mtim.tv_sec, (before.st_mtim.tv_nsec + 1) % 1000});
}

void ChangeXattr(const std::string& tree) {
  ASSERT_EQ(0, setxattr((tree + "/file").c_str(), "user.colour", "red", 3, XATTR_REPLACE));
}

void AddXattr(const std::string& tree) {
  ASSERT_EQ(0, setxattr((tree + "/null").c_str(), "trusted.extra", "1", 1, XATTR_CREATE));
}

void RemoveAcl(const std::string& tree) {
  ASSERT_EQ(0, removexattr((tree + "/dir").c_str(), "system.posix_acl_default"));
}

class VerifyFinds : public MountTest, public ::testing::WithParamInterface<Planted> {};

TEST_P(VerifyFinds, AndMendsIt) {
  const Planted& planted = GetParam();
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(SameTrees(source_, replica_.tree()));
  planted.plant(replica_.tree());

  const Outcome found = mount_.Verify();
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_NE(found.out.find(planted.kind + ": " + planted.path + ": "), std::string::npos) << found;
  const Outcome repaired = mount_.Verify({"--repair"});
  EXPECT_EQ(repaired.code, 1) << repaired;
  const Outcome again = mount_.Verify();
  EXPECT_EQ(again.code, 0) << again;
  EXPECT_TRUE(Converges());
}

TEST_P(VerifyFinds, QuicklyWhatShows) {
  const Planted& planted = GetParam();
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(mount_.VerifyQuickly().code, 0);
  planted.plant(replica_.tree());

  const Outcome found = mount_.VerifyQuickly();
  if (!planted.shows) {
    EXPECT_EQ(found.code, 0) << found;
    EXPECT_NE(found.out.find(" 0 bytes of content compared; --full compares all"),
              std::string::npos)
        << found;
    return;
  }
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_NE(found.out.find(planted.kind + ": " + planted.path + ": "), std::string::npos) << found;
  const Outcome repaired = mount_.VerifyQuickly({"--repair"});
  EXPECT_EQ(repaired.code, 1) << repaired;
  EXPECT_EQ(mount_.Verify().code, 0);
  EXPECT_TRUE(Converges());
}

INSTANTIATE_TEST_SUITE_P(
    Difference, VerifyFinds,
    ::testing::Values(Planted{"FlippedByte", "dir/deeper/large", "content", FlipByte,
                              /*shows=*/false},
                      Planted{"TruncatedFile", "file", "attribute", Truncate},
                      Planted{"MissingName", "dir/text", "name", RemoveName},
                      Planted{"MissingSubtree", "dir/deeper", "name", RemoveSubtree},
                      Planted{"ExtraName", "dir/deeper/extra", "name", AddName},
                      Planted{"ExtraDirectory", "extra-directory", "name", AddDirectory},
                      Planted{"OtherName", "another-name", "name", Rename},
                      Planted{"WrongMode", "file", "attribute", ChangeMode},
                      Planted{"WrongOwner", "dangling", "attribute", ChangeOwner},
                      Planted{"WrongTime", "fifo", "attribute", ChangeTime},
                      Planted{"WrongXattr", "file", "xattr", ChangeXattr},
                      Planted{"ExtraXattr", "null", "xattr", AddXattr},
                      Planted{"MissingAcl", "dir", "xattr", RemoveAcl},
                      Planted{"BrokenHardLink", "dir/hard-link", "link", BreakHardLink},
                      Planted{"WrongTarget", "symlink", "link", ReplaceSymlink},
                      Planted{"OtherKind", "empty", "link", ChangeKind}),
    [](const auto& one) { return one.param.name; });

using Verify = MountTest;

TEST_F(Verify, ComparesQuicklyTheContentOfWhatHasOtherTimes) {
  Write(source_ + "/written", std::string(3 << 20, 'a'));
  Write(source_ + "/same", std::string(3 << 20, 'b'));
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  WriteAt(replica_.tree() + "/written", 2'000'000, "x");
  const Outcome found = mount_.VerifyQuickly({"--json"});
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_NE(found.out.find("bytes 1966080 to 2097152 differ"), std::string::npos) << found;
  EXPECT_NE(found.out.find("\"bytes\":3145728,"), std::string::npos) << found;
  EXPECT_NE(found.out.find("\"full\":false"), std::string::npos) << found;
  EXPECT_EQ(mount_.VerifyQuickly({"--repair"}).code, 1);
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(Verify, IsFullWhereOptionsOfContentAreGiven) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  FlipByte(replica_.tree());
  const std::vector<std::vector<std::string>> all = {
      {"--hash", "sha256"}, {"--block-size", "4096"}, {"--allocation"}, {"--drop-caches"}};
  for (const auto& options : all) {
    EXPECT_EQ(mount_.VerifyQuickly(options).code, 4) << options.front();
  }
}

TEST_F(Verify, OfPathsLooksAtNothingElse) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  FlipByte(replica_.tree());
  AddXattr(replica_.tree());
  EXPECT_EQ(mount_.Verify({"suid", "dir/text"}).code, 0);
  EXPECT_EQ(mount_.Verify({"dir"}).code, 4);
  EXPECT_EQ(mount_.Verify({mount_.path() + "/dir/deeper/large"}).code, 4);
  EXPECT_EQ(mount_.Verify({"dir", "--repair"}).code, 1);
  EXPECT_EQ(mount_.Verify({"dir"}).code, 0);
  const Outcome rest = mount_.Verify();
  EXPECT_EQ(rest.code, 4) << rest;
  EXPECT_NE(rest.out.find("xattr: null: "), std::string::npos) << rest;
}

TEST_F(Verify, OfPathsTakesNamesOfAnyBytes) {
  const std::vector<std::string> names = {"..data", "...", "\xff\xfe", "a\nb"};
  for (const std::string& name : names) Write(source_ + "/" + name, "content");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  for (const std::string& name : names) EXPECT_EQ(mount_.Verify({name}).code, 0);
  const std::string link = scratch_.Path("link");
  stdfs::create_directory_symlink(mount_.path(), link);
  EXPECT_EQ(mount_.Verify({link + "/..data"}).code, 0);
  Write(replica_.tree() + "/" + names[2], "contenT");
  EXPECT_EQ(mount_.Verify({names[2]}).code, 4);
  EXPECT_EQ(mount_.Verify({"../" + names[0]}).code, 16);
}

// Names of one file, which are quickly made: several pages of them.
class VerifyOfALargeDirectory : public MountTest {
 protected:
  static constexpr int kNames = 20'000;
  static std::string Name(int number) {
    const std::string digits = std::to_string(number);
    return "large/n" + std::string(5 - digits.size(), '0') + digits;
  }
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    stdfs::create_directory(source_ + "/large");
    Write(source_ + "/large/n00000", "content");
    for (int i = 1; i < kNames; ++i) {
      ASSERT_EQ(0, link((source_ + "/large/n00000").c_str(), (source_ + "/" + Name(i)).c_str()));
    }
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }
};

TEST_F(VerifyOfALargeDirectory, CutsGoBetweenItsPages) {
  Process verify({{Program("tandem"), "verify", "--full", mount_.path()}});
  int arrived = 0;
  while (verify.running() && arrived < 2) {
    Write(mount_.path() + "/large/small", std::to_string(arrived));
    ASSERT_TRUE(mount_.Sync());
    if (verify.running()) ++arrived;
  }
  EXPECT_EQ(arrived, 2) << "changes that arrived while it ran";
  EXPECT_EQ(verify.Wait(), 0) << verify.out() << verify.err();
}

TEST_F(VerifyOfALargeDirectory, FindsWhatDiffersOnEachPageAndNothingElse) {
  InDirectory(replica_.tree() + "/large", [&] {
    for (const int number : {0, 4095, 4096, 12'345, kNames - 1}) {
      stdfs::remove(replica_.tree() + "/" + Name(number));
    }
    Write(replica_.tree() + "/large/n08191.extra", "extra");
    Write(replica_.tree() + "/large/z", "extra");
  });
  const Outcome found = mount_.Verify();
  EXPECT_EQ(found.code, 4);
  for (const std::string name : {"n00000", "n04095", "n04096", "n12345", "n19999"}) {
    EXPECT_NE(found.out.find("name: large/" + name + ": is missing"), std::string::npos) << name;
  }
  for (const std::string name : {"n08191.extra", "z"}) {
    EXPECT_NE(found.out.find("name: large/" + name + ": is only"), std::string::npos) << name;
  }
  // Each name that is left tells that links are missing.
  size_t names = 0;
  for (size_t at = 0; (at = found.out.find("name: ", at)) != std::string::npos; ++at) ++names;
  EXPECT_EQ(names, 7u);
  EXPECT_EQ(mount_.Verify({"--repair"}).code, 1);
  EXPECT_EQ(mount_.Verify().code, 0);
  EXPECT_TRUE(Converges());
}

TEST_F(Verify, NamesTheBlocksThatDifferInWhicheverWindow) {
  constexpr uint64_t kMiB = 1 << 20;
  Write(source_ + "/large", RandomBytes(50 * kMiB));
  Write(source_ + "/small", RandomBytes(kMiB));
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const std::string large = replica_.tree() + "/large";
  KeepingTimes(large, [&] {
    const std::string other(9 * kMiB, 'x');
    WriteAt(large, 1 * kMiB, "x");
    WriteAt(large, 15 * kMiB + 5, "x");
    WriteAt(large, 20 * kMiB, other);  // more than is judged at a time
    ASSERT_EQ(0, truncate(large.c_str(), 35 * kMiB + 5));
  });
  const std::string small = replica_.tree() + "/small";
  KeepingTimes(small, [&] { ASSERT_EQ(0, truncate(small.c_str(), 5)); });
  const Outcome found = mount_.Verify();
  EXPECT_EQ(found.code, 4);
  std::multiset<std::string> content;
  std::istringstream lines(found.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("content: ")) content.insert(line);
  }
  const auto differ = [](const std::string& path, uint64_t start, uint64_t end) {
    return "content: " + path + ": bytes " + std::to_string(start) + " to " + std::to_string(end) +
           " differ";
  };
  constexpr uint64_t kBlock = 128 << 10;
  EXPECT_EQ(content, (std::multiset<std::string>{
                         differ("large", kMiB, kMiB + kBlock),
                         differ("large", 15 * kMiB, 15 * kMiB + kBlock),
                         differ("large", 20 * kMiB, 28 * kMiB),
                         differ("large", 28 * kMiB, 29 * kMiB),
                         differ("large", 35 * kMiB, 35 * kMiB + kBlock),
                         differ("large", 35 * kMiB + kBlock, 50 * kMiB),
                         differ("small", 0, kBlock),
                         differ("small", kBlock, kMiB),
                     }))
      << found;
  EXPECT_EQ(mount_.Verify({"--repair"}).code, 1);
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(Verify, OfALargeSparseFileReadsWhatIsThere) {
  constexpr off_t kSize = off_t{100} << 30;
  Write(source_ + "/sparse", "start");
  ASSERT_EQ(0, truncate((source_ + "/sparse").c_str(), kSize));
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(mount_.Verify().code, 0);
  WriteAt(replica_.tree() + "/sparse", kSize / 2, "x");
  EXPECT_EQ(mount_.Verify().code, 4);
}

// It can still be opened by its handle, but the replica has removed it. At several moments of the
// verify: whether one is in the middle of the file cannot be seen from outside.
TEST_F(Verify, WhileAFileInUseIsRemovedFindsNothing) {
  ASSERT_TRUE(StartBoth());
  const std::string path = mount_.path() + "/large";
  const std::string content(256 << 20, 'x');  // read in several pieces
  for (const int moment_ms : {20, 40, 60, 80}) {
    Write(path, content);
    ASSERT_TRUE(mount_.Sync());
    const UniqueFd in_use(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(in_use.valid());
    Process verify({{Program("tandem"), "verify", "--full", mount_.path()}});
    (void)verify.Wait(milliseconds(moment_ms));
    ASSERT_EQ(0, unlink(path.c_str()));
    EXPECT_EQ(verify.Wait(), 0) << moment_ms << ": " << verify.out() << verify.err();
  }
}

TEST_F(Verify, SaysAtOnceThatItCannotJudgeAPausedReplica) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  Write(mount_.path() + "/file", "not sent");
  const Outcome outcome = mount_.Verify();
  EXPECT_EQ(outcome.code, 8) << outcome;
  EXPECT_NE(outcome.err.find("paused"), std::string::npos) << outcome;
}

TEST_F(Verify, SaysInItsExitCodeWhyItCouldNotRun) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(mount_.Verify({"--hash", "crc32"}).code, 16);
  EXPECT_EQ(mount_.Verify({"--replica", "nobody"}).code, 16);
  EXPECT_EQ(mount_.Verify({"/etc/passwd"}).code, 16);
  EXPECT_EQ(mount_.Verify({"no-such-file"}).code, 8);
}

TEST_F(Verify, FindsWhatWasChangedBehindTheMount) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  FlipByte(source_);
  EXPECT_EQ(mount_.Verify().code, 4);
  EXPECT_EQ(mount_.Verify({"--repair"}).code, 1);
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
}

}  // namespace
}  // namespace tandem::test
