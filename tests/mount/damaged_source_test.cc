// A source with a block that cannot be read: everything else goes on, and status says what is
// lacking. btrfs, because it gives EIO for a block whose checksum is wrong.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr size_t kBlock = 4096;
constexpr uint64_t kBad = kMiB + 3 * kBlock;

class DamagedSource : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(disk_.Make(256 * kMiB));
    Write(source_ + "/file", content_);
    Write(source_ + "/other", "other");
    ASSERT_TRUE(disk_.Damage(content_.substr(kBad, kBlock)));
  }

  std::string file() const { return mount_.path() + "/file"; }
  std::string OnReplica(const std::string& name) const {
    const std::string path = replica_.tree() + "/" + name;
    return std::filesystem::exists(path) ? Read(path) : "nothing";
  }
  bool Lacks() {
    return WaitFor([this] { return mount_.ReplicaError().find("lacks") != std::string::npos; });
  }

  void ExpectEverythingElseGoesOn() {
    ASSERT_TRUE(Lacks()) << mount_.Status().dump(2);
    const Json status = mount_.ReplicaStatus();
    EXPECT_THAT(mount_.ReplicaError(), ::testing::HasSubstr(" 4096 bytes of "));
    EXPECT_THAT(mount_.ReplicaError(), ::testing::HasSubstr("Input/output error"));
    EXPECT_NE(status["state"], "current");
    Write(mount_.path() + "/other", "after it " + std::to_string(++writes_));
    EXPECT_TRUE(
        WaitFor([this] { return OnReplica("other") == "after it " + std::to_string(writes_); }));
    EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
    EXPECT_GE(mount_.Status()["pending"]["bytes"], kBlock);
  }
  void ExpectMendedByWriting() {
    WriteAt(file(), kBad, RandomBytes(kBlock, 77));
    EXPECT_TRUE(Converges());
    EXPECT_TRUE(mount_.WaitForState("current"));
    EXPECT_EQ(mount_.ReplicaError(), "");
  }

  int writes_ = 0;
  const std::string content_ = RandomBytes(3 * kMiB, 5);
  LoopDisk disk_{scratch_, "source", "btrfs", source_};
};

TEST_F(DamagedSource, IsSeededButForWhatCannotBeRead) {
  ASSERT_TRUE(StartBoth());
  ExpectEverythingElseGoesOn();
  std::string expected = content_;
  std::fill_n(expected.begin() + kBad, kBlock, '\0');
  EXPECT_EQ(OnReplica("file"), expected);
  ExpectMendedByWriting();
}

TEST_F(DamagedSource, HidesNothingElseFromAVerify) {
  ASSERT_TRUE(StartBoth());
  ASSERT_NO_FATAL_FAILURE(ExpectEverythingElseGoesOn());
  constexpr uint64_t kChanged = 2 * kMiB;
  const std::string path = replica_.tree() + "/file";
  const struct stat before = Lstat(path);
  WriteAt(path, kChanged, "changed");
  SetTimes(path, before.st_atim, before.st_mtim);
  const Outcome verified = mount_.Verify();
  EXPECT_EQ(verified.code, 4) << verified;
  EXPECT_THAT(verified.out, ::testing::HasSubstr("unreadable: file"));
  EXPECT_THAT(verified.out,
              ::testing::HasSubstr("content: file: bytes " + std::to_string(kChanged) + " to"));
}

TEST_F(DamagedSource, IsNotForgottenWhenTheDaemonIsKilled) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(Lacks());
  for (const bool cleanly : {false, true}) {
    if (cleanly) {
      ASSERT_TRUE(mount_.Unmount());
    } else {
      mount_.Kill();
    }
    ASSERT_TRUE(mount_.Start());
    ExpectEverythingElseGoesOn();
  }
  ExpectMendedByWriting();
}

// ---- Names -------------------------------------------------------------------------------------

// An inode that the disk does not give: ext4 refuses one whose checksum is wrong.
class DamagedInode : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(disk_.Make(128 * kMiB));
    std::filesystem::create_directories(source_ + "/directory");
    for (const std::string name : {"before", "zlast"}) {
      Write(source_ + "/directory/" + name, name);
    }
    // Its target stands in the inode.
    std::filesystem::create_symlink(kTarget, source_ + "/directory/link");
  }
  std::string OnReplica(const std::string& name) const {
    const std::string path = replica_.tree() + "/directory/" + name;
    return std::filesystem::exists(path) ? Read(path) : "nothing";
  }
  void ExpectEverythingElseGoesOn() {
    EXPECT_TRUE(WaitFor([this] {
      return mount_.ReplicaError().find("lacks names in " + source_ + "/directory") !=
             std::string::npos;
    })) << mount_.Status().dump(2);
    EXPECT_THAT(mount_.ReplicaError(), ::testing::HasSubstr("link"));
    EXPECT_NE(mount_.State(), "current");
    Write(mount_.path() + "/directory/before", "again");
    Write(mount_.path() + "/directory/new", "new");
    EXPECT_TRUE(WaitFor([this] {
      return OnReplica("before") == "again" && OnReplica("new") == "new" &&
             OnReplica("zlast") == "zlast";
    }));
    EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
    const Outcome verified = mount_.Verify();
    EXPECT_EQ(verified.code, 4) << verified;
    EXPECT_THAT(verified.out, ::testing::HasSubstr("unreadable: directory/link"));
  }
  // The block with the inode is written again, as it was.
  void Mend() {
    ASSERT_TRUE(mount_.Unmount());
    ASSERT_TRUE(disk_.Damage(kDamaged));
    ASSERT_TRUE(mount_.Start());
  }

  const std::string kTarget = "a target that stands nowhere else on this disk, 48";
  const std::string kDamaged = static_cast<char>(~kTarget[0]) + kTarget.substr(1);
  LoopDisk disk_{scratch_, "source", "ext4", source_};
};

TEST_F(DamagedInode, IsPassedOverBySeeding) {
  ASSERT_TRUE(disk_.Damage(kTarget));
  ASSERT_TRUE(StartBoth());
  ExpectEverythingElseGoesOn();
  EXPECT_FALSE(std::filesystem::is_symlink(replica_.tree() + "/directory/link"));
  Mend();
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(mount_.WaitForState("current"));
}

TEST_F(DamagedInode, StaysOnTheReplicaWhatItWasWhenAllIsCompared) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(disk_.Damage(kTarget));
  std::filesystem::remove(mount_.options().state + "/state.db");  // so all is
  ASSERT_TRUE(mount_.Start());
  ExpectEverythingElseGoesOn();
  EXPECT_EQ(std::filesystem::read_symlink(replica_.tree() + "/directory/link"), kTarget);
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  ExpectEverythingElseGoesOn();
  Mend();
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
