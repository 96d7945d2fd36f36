// A replica on whose disk an inode is damaged: the filesystem gives an error for every call that
// names it. That is this object's matter (DESIGN invariant 10), whatever happens to it at the
// source.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <utility>

#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace fs = std::filesystem;

struct DamagedCase {
  const char* name;
  const char* damaged;  // what is, in the tree: its inode, or the block of the names in it
  bool block;
  std::function<void(const std::string& root)> change;
};

void PrintTo(const DamagedCase& value, std::ostream* stream) { *stream << value.name; }

class Invariant10DamagedReplica : public MountTest,
                                  public ::testing::WithParamInterface<DamagedCase> {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    fs::create_directories(source_ + "/directory/sub/deep");
    fs::create_directory(source_ + "/elsewhere");
    Write(source_ + "/directory/before", "before");
    Write(source_ + "/directory/file", RandomBytes(300'000, 1));
    Write(source_ + "/directory/zlast", "last");
    Write(source_ + "/directory/sub/inner-of-sub", "inner");
    Write(source_ + "/directory/sub/deep/innermost", "innermost");
    Write(source_ + "/other", "other");
    disk_ = std::make_unique<LoopDisk>(scratch_, "store", "ext4", scratch_.Directory("store-disk"));
    ASSERT_TRUE(disk_->Make(256 * kMiB));
    one_ = std::make_unique<ReplicaDaemon>(scratch_, "one", disk_->directory() + "/store");
    mount_.options().replicas = {"one=" + one_->url()};
    ASSERT_TRUE(one_->Start());
    ASSERT_TRUE(mount_.Start());
    ASSERT_TRUE(test::Converges(mount_, *one_));
  }
  void TearDown() override {
    mount_.Kill();
    one_.reset();
    disk_.reset();
  }
  void Damage(const std::string& path) {
    ASSERT_TRUE(one_->Stop());
    const std::string on_disk = "/store/" + std::string(kVolume) + "/tree/" + path;
    const bool block = GetParam().block;
    ASSERT_TRUE(block ? disk_->DamageDirectory(on_disk) : disk_->DamageInode(on_disk));
    ASSERT_TRUE(one_->Start());
    ASSERT_TRUE(mount_.WaitForState("current"));
    const std::string refused = one_->tree() + "/" + path + (block ? "/inner-of-sub" : "");
    ASSERT_EQ(open(refused.c_str(), O_PATH | O_CLOEXEC), -1);
    ASSERT_EQ(errno, EBADMSG);
  }
  void ExpectEverythingElseGoesOn() {
    const std::string content = "after " + std::to_string(++writes_);
    Write(mount_.path() + "/other", content);
    Write(mount_.path() + "/new" + std::to_string(writes_), content);
    EXPECT_TRUE(WaitFor([&] {
      return Read(one_->tree() + "/other") == content &&
             fs::exists(one_->tree() + "/new" + std::to_string(writes_));
    })) << mount_.Status().dump(2);
    EXPECT_NE(mount_.State(), "blocked");
  }
  void ExpectRightAgain() {
    ExpectEverythingElseGoesOn();
    EXPECT_TRUE(WaitFor([&] { return mount_.Verify().code == 0 && mount_.ReplicaError().empty(); },
                        seconds(60)))
        << mount_.Verify() << mount_.Status().dump(2);
    EXPECT_TRUE(test::Converges(mount_, *one_));
    EXPECT_TRUE(WaitFor([&] {
      Write(mount_.path() + "/other", "again " + std::to_string(++writes_));
      return mount_.Sync() &&
             fs::is_empty(disk_->directory() + "/store/" + std::string(kVolume) + "/stage/hold");
    }));
  }

  std::unique_ptr<LoopDisk> disk_;
  std::unique_ptr<ReplicaDaemon> one_;
  int writes_ = 0;
};

TEST_P(Invariant10DamagedReplica, HoldsUpNothingElse) {
  ASSERT_NO_FATAL_FAILURE(Damage(GetParam().damaged));
  GetParam().change(mount_.path());
  ExpectEverythingElseGoesOn();
  // A second cut finds what the first has left, and so does a daemon that starts.
  ExpectEverythingElseGoesOn();
  one_->Kill();
  ASSERT_TRUE(one_->Start());
  ExpectEverythingElseGoesOn();
  // Until it is repaired nobody says that all is well. What is removed with its directory is in
  // nobody's way.
  if (std::string_view(GetParam().name) != "RemovedWithItsDirectory") {
    EXPECT_THAT(mount_.ReplicaError(), ::testing::HasSubstr("fall")) << mount_.Status().dump(2);
    EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "2"}).code, 1);
    EXPECT_EQ(mount_.Verify().code, 4);
  }
  // The inode is right again, or it is gone.
  ASSERT_TRUE(one_->Stop());
  ASSERT_TRUE(disk_->Repair());
  ASSERT_TRUE(one_->Start());
  ExpectRightAgain();
}

void Remove(const std::string& path) { fs::remove_all(path); }

const DamagedCase kCases[] = {
    {"Written", "directory/file", false,
     [](const std::string& root) { WriteAt(root + "/directory/file", 5000, "changed"); }},
    {"CutShort", "directory/file", false,
     [](const std::string& root) { fs::resize_file(root + "/directory/file", 10); }},
    {"Chmodded", "directory/file", false,
     [](const std::string& root) {
       fs::permissions(root + "/directory/file", fs::perms::owner_all);
     }},
    {"Removed", "directory/file", false,
     [](const std::string& root) { Remove(root + "/directory/file"); }},
    {"Renamed", "directory/file", false,
     [](const std::string& root) {
       fs::rename(root + "/directory/file", root + "/directory/renamed");
     }},
    {"Moved", "directory/file", false,
     [](const std::string& root) {
       fs::rename(root + "/directory/file", root + "/elsewhere/moved");
       WriteAt(root + "/elsewhere/moved", 5000, "changed");
     }},
    {"RenamedOver", "directory/file", false,
     [](const std::string& root) {
       Write(root + "/directory/.file", RandomBytes(2'000'000, 2));
       fs::rename(root + "/directory/.file", root + "/directory/file");
     }},
    {"Linked", "directory/file", false,
     [](const std::string& root) {
       fs::create_hard_link(root + "/directory/file", root + "/elsewhere/link");
     }},
    {"AnotherKind", "directory/file", false,
     [](const std::string& root) {
       Remove(root + "/directory/file");
       fs::create_directory(root + "/directory/file");
       Write(root + "/directory/file/within", "within");
     }},
    {"RemovedWithItsDirectory", "directory/file", false,
     [](const std::string& root) { Remove(root + "/directory"); }},
    {"ItsDirectoryRenamed", "directory/file", false,
     [](const std::string& root) {
       fs::rename(root + "/directory", root + "/elsewhere/directory");
       WriteAt(root + "/elsewhere/directory/file", 5000, "changed");
     }},
    {"DirectoryWrittenIn", "directory/sub", false,
     [](const std::string& root) {
       WriteAt(root + "/directory/sub/inner-of-sub", 0, "INNER");
       Write(root + "/directory/sub/another", "another");
       Remove(root + "/directory/sub/deep/innermost");
     }},
    {"DirectoryRemoved", "directory/sub", false,
     [](const std::string& root) { Remove(root + "/directory/sub"); }},
    {"DirectoryMoved", "directory/sub", false,
     [](const std::string& root) {
       fs::rename(root + "/directory/sub", root + "/elsewhere/sub");
       Write(root + "/elsewhere/sub/another", "another");
     }},
    {"DirectoryOfADamagedBlockWrittenIn", "directory/sub", true,
     [](const std::string& root) {
       WriteAt(root + "/directory/sub/inner-of-sub", 0, "INNER");
       Write(root + "/directory/sub/another", "another");
     }},
    {"DirectoryOfADamagedBlockRemoved", "directory/sub", true,
     [](const std::string& root) { Remove(root + "/directory/sub"); }},
    {"DirectoryOfADamagedBlockMoved", "directory/sub", true,
     [](const std::string& root) {
       fs::rename(root + "/directory/sub", root + "/elsewhere/sub");
       Write(root + "/elsewhere/sub/another", "another");
     }},
    {"MovedOutOfADirectoryOfADamagedBlock", "directory/sub", true,
     [](const std::string& root) {
       fs::rename(root + "/directory/sub/inner-of-sub", root + "/elsewhere/inner");
       fs::rename(root + "/directory/sub/deep", root + "/elsewhere/deep");
     }},
    {"MovedOutOfTheDirectory", "directory/sub", false,
     [](const std::string& root) {
       fs::rename(root + "/directory/sub/inner-of-sub", root + "/elsewhere/inner-of-sub");
       fs::rename(root + "/directory/sub/deep", root + "/elsewhere/deep");
     }},
};

INSTANTIATE_TEST_SUITE_P(All, Invariant10DamagedReplica, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tandem::test
