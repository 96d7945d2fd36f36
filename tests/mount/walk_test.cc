// Walks of the tree (replica/source/walker.h), and what happens meanwhile.
#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

class Walk : public MountTest {
 protected:
  // What has changed since is known to nobody: everything is compared at the next start.
  void ForgetWhatIsKnown() { stdfs::remove(mount_.options().state + "/state.db"); }
};

// Directories are visited level by level: what stands deep down moves to the top, one after the
// other, so that some of them go from where the walk has not been to where it has.
TEST_F(Walk, WhatMovesToWhereItHasBeenIsComparedToo) {
  constexpr int kMoving = 60;
  constexpr int kWide = 1500;
  std::string deep = source_ + "/deep";
  for (int level = 0; level < 12; ++level) deep += "/level";
  const auto moving = [](int i) { return "/moving-" + std::to_string(i); };
  for (int i = 0; i < kMoving; ++i) {
    stdfs::create_directories(deep + moving(i) + "/below");
    Write(deep + moving(i) + "/below/file", "as it was");
  }
  stdfs::create_directory(source_ + "/early");
  for (int i = 0; i < kWide; ++i) {
    const std::string directory = source_ + "/wide/" + std::to_string(i);
    stdfs::create_directories(directory);
    Write(directory + "/file", "text");
  }
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  ForgetWhatIsKnown();
  for (int i = 0; i < kMoving; ++i) {
    Write(deep + moving(i) + "/below/file", "as it is now");
    Write(deep + moving(i) + "/below/new", "made while nobody watched");
  }
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.WaitForState("reconciling"));
  const std::string deep_in_mount = mount_.path() + deep.substr(source_.size());
  for (int i = 0; i < kMoving; ++i) {
    const uint64_t sent = mount_.SentBytes();
    stdfs::rename(deep_in_mount + moving(i), mount_.path() + "/early" + moving(i));
    // Spread over the walk: it asks the replica at every step.
    ASSERT_TRUE(WaitFor([&] { return mount_.SentBytes() > sent || mount_.State() == "current"; }));
  }
  EXPECT_TRUE(Converges());
}

// A page has 1,000 names of ours. What differs is at the ends of pages, and beyond them.
TEST_F(Walk, ComparesLargeDirectoriesPageByPage) {
  constexpr int kNames = 3500;
  const auto name = [](int i) { return std::to_string(100'000 + i); };
  // Of "kept" many names stay, of "gone" only the replica has any, "new" it does not have.
  for (const std::string directory : {"/kept/", "/gone/"}) {
    stdfs::create_directory(source_ + directory);
    Write(source_ + directory + name(0), "content");
    for (int i = 1; i < kNames; ++i) {
      stdfs::create_hard_link(source_ + directory + name(0), source_ + directory + name(i));
    }
  }
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  ForgetWhatIsKnown();
  for (const int i : {0, 999, 1000, 1001, 2000, kNames - 1}) {
    stdfs::remove(source_ + "/kept/" + name(i));
  }
  for (int i = 2500; i < 3000; ++i) stdfs::remove(source_ + "/kept/" + name(i));
  for (const std::string other : {"0", "100998.x", "100999.x", "101000.x", "102999.x", "9"}) {
    Write(source_ + "/kept/" + other, other);
  }
  Write(source_ + "/kept/101500", "another object");  // written to: it has another length now
  stdfs::remove_all(source_ + "/gone");
  stdfs::create_directories({source_ + "/gone"});
  Write(source_ + "/gone/101000.x", "the only one");
  stdfs::create_directory(source_ + "/new");
  for (int i = 0; i < kNames; ++i) Write(source_ + "/new/" + name(i), name(i));
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

// The parent of a directory that is listed ahead is replaced, emptied and renamed.
TEST_F(Walk, WhatIsListedAheadMayBeGoneByThen) {
  constexpr int kDirectories = 400;
  const auto directory = [](int i) { return "/d" + std::to_string(1000 + i); };
  for (int i = 0; i < kDirectories; ++i) {
    stdfs::create_directories(source_ + directory(i) + "/below");
    for (int file = 0; file < 20; ++file) {
      Write(source_ + directory(i) + "/below/" + std::to_string(file), "content");
    }
  }
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  ForgetWhatIsKnown();
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.WaitForState("reconciling"));
  for (int i = 0; i + 2 < kDirectories && mount_.State() != "current"; i += 3) {
    const std::string path = mount_.path() + directory(i);
    stdfs::rename(path, path + ".renamed");
    stdfs::create_directory(path);
    stdfs::remove_all(mount_.path() + directory(i + 1) + "/below");
    Write(mount_.path() + directory(i + 1) + "/below", "a file now");
    stdfs::rename(mount_.path() + directory(i + 2) + "/below", path + "/moved");
  }
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(Walk, ADirectoryTakenFromTheReplicaIsSentAgainWithAllThatIsBelow) {
  stdfs::create_directories(source_ + "/directory/below");
  for (const char* name : {"/old", "/below/old"}) Write(source_ + "/directory" + name, "old");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  stdfs::remove_all(replica_.tree() + "/directory");
  Write(mount_.path() + "/directory/new", "new");
  EXPECT_TRUE(Converges());
}

TEST_F(Walk, AFileOfTwoNamesTakenFromTheReplicaIsSentAgain) {
  Write(source_ + "/one", "as it was");
  stdfs::create_hard_link(source_ + "/one", source_ + "/two");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  ForgetWhatIsKnown();
  for (const char* name : {"/one", "/two"}) stdfs::remove(replica_.tree() + name);
  Write(source_ + "/one", "as it is now");
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
