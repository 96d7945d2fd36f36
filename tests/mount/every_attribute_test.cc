// Extended attributes of every kind that means the same elsewhere arrive; those a replica cannot
// have are said, and found by verify.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace stdfs = std::filesystem;

void Set(const std::string& path, const char* name, const std::string& value) {
  EXPECT_EQ(0, lsetxattr(path.c_str(), name, value.data(), value.size(), 0))
      << name << " of " << path << ": " << strerror(errno);
}

std::string Get(const std::string& path, const char* name) {
  std::string value(XATTR_SIZE_MAX, '\0');
  const ssize_t size = lgetxattr(path.c_str(), name, value.data(), value.size());
  return size < 0 ? "none" : value.substr(0, static_cast<size_t>(size));
}

class EveryAttribute : public MountTest {
 protected:
  std::string At(const std::string& name) const { return mount_.path() + "/" + name; }
  std::string InTree(const std::string& name) const { return replica_.tree() + "/" + name; }
};

TEST_F(EveryAttribute, LabelsAndWhatOverlaysKeepArrive) {
  ASSERT_TRUE(StartBoth());
  stdfs::create_directory(At("d"));
  Write(At("f"), "content");
  stdfs::create_symlink("f", At("link"));
  const char* const names[] = {"trusted.overlay.opaque", "trusted.overlay.origin", "trusted.mine",
                               "security.selinux",       "security.ima",           "security.evm",
                               "security.SMACK64"};
  for (const char* name : names) {
    for (const char* object : {"d", "f", "link"}) Set(At(object), name, std::string("of ") + name);
  }
  Set(At("f"), "user.mine", "own");
  ASSERT_TRUE(Converges());
  for (const char* name : names) {
    for (const char* object : {"d", "f", "link"}) {
      EXPECT_EQ(Get(InTree(object), name), std::string("of ") + name) << object;
    }
  }
  EXPECT_EQ(mount_.Verify().code, 0);
  // One by one they are missed, named, and set again.
  ASSERT_EQ(0, removexattr(InTree("f").c_str(), "security.ima"));
  Set(InTree("f"), "security.selinux", "another");
  Set(InTree("f"), "trusted.overlay.redirect", "/x");
  const Outcome found = mount_.Verify();
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_THAT(found.out, HasSubstr("security.ima is missing on the replica"));
  EXPECT_THAT(found.out, HasSubstr("security.selinux has another value on the replica"));
  EXPECT_THAT(found.out, HasSubstr("trusted.overlay.redirect is only on the replica"));
  EXPECT_EQ(mount_.Verify({"--repair"}).code, 1);
  for (const char* name : names) lremovexattr(At("d").c_str(), name);
  EXPECT_TRUE(Converges());
  EXPECT_EQ(Get(InTree("d"), "trusted.overlay.opaque"), "none");
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(EveryAttribute, AnOverlaysUpperLayerDeletesOnTheReplicaWhatItDeletesOnTheSource) {
  ASSERT_TRUE(StartBoth());
  const std::string lower = scratch_.Directory("lower");
  stdfs::create_directory(lower + "/replaced");
  Write(lower + "/replaced/old", "old");
  Write(lower + "/gone", "gone");
  Write(lower + "/stays", "stays");
  stdfs::create_directories(At("upper/replaced"));
  Set(At("upper/replaced"), "trusted.overlay.opaque", "y");
  Write(At("upper/replaced/new"), "new");
  ASSERT_EQ(0, mknod(At("upper/gone").c_str(), S_IFCHR, makedev(0, 0))) << strerror(errno);
  ASSERT_TRUE(Converges());
  const std::string merged = scratch_.Directory("merged");
  const std::string options = "lowerdir=" + InTree("upper") + ":" + lower;
  if (mount("overlay", merged.c_str(), "overlay", MS_RDONLY, options.c_str()) != 0) {
    GTEST_SKIP() << "no overlay here: " << strerror(errno);
  }
  EXPECT_FALSE(stdfs::exists(merged + "/gone"));
  EXPECT_FALSE(stdfs::exists(merged + "/replaced/old"));
  EXPECT_EQ(Read(merged + "/replaced/new"), "new");
  EXPECT_EQ(Read(merged + "/stays"), "stays");
  EXPECT_EQ(0, umount(merged.c_str()));
}

TEST_F(EveryAttribute, WhatTheReplicasFilesystemCannotHoldIsSaidAndFound) {
  LoopDisk source(scratch_, "source", "xfs", source_);
  ASSERT_TRUE(source.Make(320 * kMiB));
  // As large as any, which ext4 has no room for.
  LoopDisk store(scratch_, "store", "ext4", scratch_.Directory("store-disk"));
  ASSERT_TRUE(store.Make(64 * kMiB));
  stdfs::create_directory(store.directory() + "/store");
  ReplicaDaemon small(scratch_, "small", store.directory() + "/store");
  ASSERT_TRUE(small.Start());
  mount_.options().replicas = {"one=" + small.url()};
  ASSERT_TRUE(mount_.Start());
  const auto notice = [&] { return mount_.ReplicaStatus().value("notice", ""); };
  Write(At("f"), "content");
  Set(At("f"), "user.large", std::string(60'000, 'x'));
  Set(At("f"), "trusted.large", std::string(60'000, 'x'));
  Set(At("f"), "user.small", "s");
  Write(At("g"), "of no matter");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(small.tree() + "/g"), "of no matter");
  EXPECT_EQ(Get(small.tree() + "/f", "user.small"), "s");
  EXPECT_TRUE(WaitFor([&] { return !notice().empty(); }));
  EXPECT_THAT(notice(), HasSubstr("extended attributes of 1 objects cannot be set"));
  const Outcome found = mount_.Verify();
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_THAT(found.out, HasSubstr("trusted.large is missing on the replica"));
  EXPECT_THAT(found.out, HasSubstr("user.large is missing on the replica"));
  EXPECT_THAT(found.out, Not(HasSubstr("user.small")));
  // Also by a daemon that has not tried.
  ASSERT_TRUE(small.Stop());
  ASSERT_TRUE(small.Start());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(WaitFor([&] { return !notice().empty(); }));
  for (const char* name : {"user.large", "trusted.large"}) removexattr(At("f").c_str(), name);
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(WaitFor([&] { return notice().empty(); })) << notice();
  EXPECT_EQ(mount_.Verify().code, 0);
  EXPECT_TRUE(mount_.Unmount());
}

}  // namespace
}  // namespace tandem::test
