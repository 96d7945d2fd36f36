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
