// Somebody else at work in a replica's tree, and mounts in stores: what can be noticed is said.
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

class Strangers : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(StartBoth());
    stdfs::create_directories(At("d/goes"));
    Write(At("d/file"), RandomBytes(300'000));
    Write(At("d/goes/file"), "goes");
    Write(At("untouched"), "untouched");
    ASSERT_TRUE(Converges());
  }
  std::string At(const std::string& name) const { return mount_.path() + "/" + name; }
  std::string InTree(const std::string& name) const { return replica_.tree() + "/" + name; }
  std::string Notice() { return mount_.ReplicaStatus().value("notice", ""); }
};

TEST_F(Strangers, WhatTheyDidToAFileIsSaidAndUndoneWhenTheSourceChangesIt) {
  EXPECT_EQ(Notice(), "");
  WriteAt(InTree("d/file"), 1000, "by another program");
  WriteAt(At("d/file"), 200'000, "by the source");
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(WaitFor([&] { return !Notice().empty(); }));
  EXPECT_THAT(Notice(), AllOf(HasSubstr("changed by another program"), HasSubstr("d/file")));
  Write(InTree("d/goes/stranger"), "in a directory that goes");
  stdfs::remove_all(At("d/goes"));
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(WaitFor([&] { return Notice().find("d/goes/stranger") != std::string::npos; }))
      << Notice();
  EXPECT_EQ(mount_.Verify().code, 0);
  EXPECT_EQ(mount_.State(), "current");
}

TEST_F(Strangers, AMountOnTheTreeBlocksTheReplicaAndSaysWhy) {
  ASSERT_EQ(0, mount("tmpfs", replica_.tree().c_str(), "tmpfs", 0, "")) << strerror(errno);
  EXPECT_TRUE(WaitFor([&] { return Notice().find("tmpfs is mounted on") != std::string::npos; }));
  Write(At("new"), "while something is mounted there");
  EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr("tmpfs is mounted on " + replica_.tree()));
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
  ASSERT_EQ(0, umount(replica_.tree().c_str()));
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_EQ(Notice(), "");
}

TEST_F(Strangers, NoMountComesOverAStore) {
  const size_t mounted = MountsBelow(scratch_.path()).size();
  const std::string tree = replica_.tree();
  const std::string elsewhere = scratch_.Directory("elsewhere");
  for (const auto& [source, mountpoint] :
       {std::pair(tree, tree), std::pair(tree + "/d", elsewhere), std::pair(elsewhere, tree),
        std::pair(replica_.store(), elsewhere)}) {
    const Outcome refused =
        Execute({Program("tandemfs"), source, mountpoint, "--state", scratch_.Path("state-2")});
    EXPECT_NE(refused.code, 0);
    EXPECT_THAT(refused.err, HasSubstr("is inside " + replica_.store() + ", where tandemd"));
    EXPECT_THAT(refused.err, HasSubstr(std::to_string(replica_.process().pid())));
  }
  EXPECT_EQ(MountsBelow(scratch_.path()).size(), mounted);
  EXPECT_FALSE(stdfs::exists(scratch_.Path("state-2")));
}

}  // namespace
}  // namespace tandem::test
