// A replica whose disk does not give something: verify says what, compares everything else, and a
// repair mends it. And replicas that do not answer in time.
#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kBlock = 128 << 10;  // of verify

class VerifyUnreadable : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    std::filesystem::create_directory(source_ + "/directory");
    Write(source_ + "/directory/before", "before");
    Write(source_ + "/directory/zlast", "last");
  }
  void TearDown() override {
    mount_.Kill();
    one_.reset();
    disk_.reset();
  }
  // Everything is there and safe.
  ::testing::AssertionResult StartOn(const char* type) {
    disk_ = std::make_unique<LoopDisk>(scratch_, "store", type, scratch_.Directory("store-disk"));
    if (auto made = disk_->Make(256 * kMiB); !made) return made;
    one_ = std::make_unique<ReplicaDaemon>(scratch_, "one", disk_->directory() + "/store");
    mount_.options().replicas = {"one=" + one_->url()};
    if (auto started = one_->Start(); !started) return started;
    if (auto started = mount_.Start(); !started) return started;
    return test::Converges(mount_, *one_);
  }
  void WhileStopped(const std::function<::testing::AssertionResult()>& damage) {
    ASSERT_TRUE(one_->Stop());
    ASSERT_TRUE(damage());
    ASSERT_TRUE(one_->Start());
    ASSERT_TRUE(mount_.WaitForState("current"));
  }

  std::unique_ptr<LoopDisk> disk_;
  std::unique_ptr<ReplicaDaemon> one_;
};

TEST_F(VerifyUnreadable, ABlockIsFoundAndMended) {
  const std::string content = RandomBytes(20 * kMiB, 7);
  const size_t bad = 9 * kMiB + 3 * 4096;
  Write(source_ + "/directory/file", content);
  Write(source_ + "/directory/small", content.substr(0, 3000));
  ASSERT_TRUE(StartOn("btrfs"));
  WhileStopped([&] { return disk_->Damage(content.substr(bad, 4096)); });
  WriteAt(one_->tree() + "/directory/zlast", 0, "L");
  const Outcome found = mount_.Verify();
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_THAT(found.out, HasSubstr("content: directory/zlast"));
  const size_t start = bad / kBlock * kBlock;
  EXPECT_THAT(found.out, HasSubstr("content: directory/file: bytes " + std::to_string(start) +
                                   " to " + std::to_string(start + kBlock) + " cannot be read"));
  const Outcome mended = mount_.Verify({"--repair"});
  EXPECT_EQ(mended.code, 1) << mended;
  EXPECT_EQ(mount_.Verify().code, 0);
  EXPECT_TRUE(test::Converges(mount_, *one_));
}

TEST_F(VerifyUnreadable, AnInodeKeepsNothingElseFromBeingCompared) {
  Write(source_ + "/directory/file", "content");
  ASSERT_TRUE(StartOn("ext4"));
  WhileStopped([&] {
    return disk_->DamageInode("/store/" + std::string(kVolume) + "/tree/directory/file");
  });
  WriteAt(one_->tree() + "/directory/zlast", 0, "L");
  const Outcome found = mount_.Verify();
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_THAT(found.out, HasSubstr("name: directory/file: cannot be read on the replica"));
  EXPECT_THAT(found.out, HasSubstr("content: directory/zlast"));
  EXPECT_THAT(found.out, Not(HasSubstr("before")));
}

// What was marked is not forgotten if the repair does not arrive.
TEST_F(VerifyUnreadable, ARepairThatDoesNotArriveIsGoneOnWith) {
  ASSERT_TRUE(StartOn("ext4"));
  WriteAt(one_->tree() + "/directory/zlast", 0, "L");
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  const Outcome paused = mount_.Verify({"--repair"});
  EXPECT_EQ(paused.code, 8) << paused;
  EXPECT_THAT(paused.err, HasSubstr("paused"));
  EXPECT_THAT(paused.out, HasSubstr("content: directory/zlast"));
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  ASSERT_TRUE(mount_.Sync());
  const Outcome rest = mount_.Verify({"--resume"});
  EXPECT_EQ(rest.code, 0) << rest;
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(VerifyUnreadable, AnInterruptEndsItAtOnceWhileTheReplicaDoesNotAnswer) {
  ASSERT_TRUE(StartOn("ext4"));
  one_->process().Signal(SIGSTOP);
  Process verify({{Program("tandem"), "verify", "--full", mount_.path()}});
  (void)verify.Wait(milliseconds(1000));
  ASSERT_TRUE(verify.running());
  const auto stopping = Clock::now();
  verify.Signal(SIGINT);
  EXPECT_EQ(verify.Wait(), 8) << verify.out() << verify.err();
  EXPECT_LT(Clock::now() - stopping, seconds(10));
  EXPECT_THAT(verify.err(), HasSubstr("--resume"));
  one_->process().Signal(SIGCONT);
}

}  // namespace
}  // namespace tandem::test
