// Objects that alone cannot be on the replica what they are on the source: everything else goes on,
// status names them, sync and verify say so, and they heal when the cause goes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <sstream>
#include <thread>

#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

constexpr uint64_t kTiB = uint64_t{1} << 40;

// XFS takes larger files than ext4, and more extended attributes than can be listed; ext4 takes
// longer targets of symlinks than XFS.
class ShortObjects : public MountTest {
 protected:
  void Start(const std::string& source_type, const std::string& store_type) {
    source_disk_ = std::make_unique<LoopDisk>(scratch_, "source-disk", source_type, source_);
    ASSERT_TRUE(source_disk_->Make(600 * kMiB));
    store_disk_ = std::make_unique<LoopDisk>(scratch_, "store-disk", store_type,
                                             scratch_.Directory("store-disk"));
    ASSERT_TRUE(store_disk_->Make(600 * kMiB));
    store_ = std::make_unique<ReplicaDaemon>(scratch_, "store", store_disk_->directory() + "/s");
    stdfs::create_directory(store_->store());
    mount_.options().replicas = {"one=" + store_->url()};
    ASSERT_TRUE(store_->Start());
    ASSERT_TRUE(mount_.Start());
    Write(mount_.path() + "/culprit", "old");
    ASSERT_TRUE(mount_.Sync());
  }

  void TearDown() override {
    mount_.Kill();
    store_.reset();
    store_disk_.reset();
    source_disk_.reset();
  }

  std::string culprit() const { return mount_.path() + "/culprit"; }
  std::string OnReplica(const std::string& name) const {
    const std::string path = store_->tree() + "/" + name;
    return stdfs::exists(path) ? Read(path) : "(nothing)";
  }
  bool IsNamed(const std::string& name) {
    return WaitFor([&] { return mount_.ReplicaError().find(name) != std::string::npos; });
  }

  void ExpectEverythingElseGoesOn(const std::string& name = "culprit") {
    const std::string text = "write " + std::to_string(++writes_);
    Write(mount_.path() + "/other", text);
    EXPECT_TRUE(WaitFor([&] { return OnReplica("other") == text; })) << mount_.Status().dump(2);
    EXPECT_TRUE(IsNamed(name)) << mount_.Status().dump(2);
    EXPECT_EQ(mount_.State(), "catching-up");
  }
  // At once: to wait is no use.
  void ExpectSyncSaysSo() {
    const Outcome sync = mount_.Tandem("sync");
    EXPECT_EQ(sync.code, 1);
    EXPECT_THAT(sync.err, HasSubstr("culprit"));
  }
  void ExpectHealed() {
    EXPECT_TRUE(test::Converges(mount_, *store_));
    EXPECT_TRUE(mount_.WaitForState("current")) << mount_.Status().dump(2);
    EXPECT_EQ(mount_.ReplicaError(), "");
    EXPECT_EQ(mount_.Verify().code, 0);
  }

  int writes_ = 0;
  std::unique_ptr<LoopDisk> source_disk_;
  std::unique_ptr<LoopDisk> store_disk_;
  std::unique_ptr<ReplicaDaemon> store_;
};

TEST_F(ShortObjects, AFileTooLargeForTheReplicaKeepsWhatItWasUntilItIsShrunk) {
  ASSERT_NO_FATAL_FAILURE(Start("xfs", "ext4"));
  WriteAt(culprit(), 17 * kTiB, "far out");
  WriteAt(culprit(), 0, "new");
  ExpectEverythingElseGoesOn();
  ExpectSyncSaysSo();
  EXPECT_EQ(OnReplica("culprit"), "old");
  const Outcome verify = mount_.Verify();
  EXPECT_EQ(verify.code, 4) << verify.out << verify.err;
  EXPECT_THAT(verify.out, HasSubstr("culprit"));

  stdfs::rename(culprit(), mount_.path() + "/moved");
  ExpectEverythingElseGoesOn("moved");
  stdfs::resize_file(mount_.path() + "/moved", 2);
  ExpectHealed();
  EXPECT_EQ(OnReplica("moved"), "ne");
}

// Processor time of a process, in ticks of 10 ms.
uint64_t TicksOf(pid_t process) {
  std::istringstream fields(Read("/proc/" + std::to_string(process) + "/stat"));
  fields.ignore(std::numeric_limits<std::streamsize>::max(), ')');
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  uint64_t user = 0;
  uint64_t system = 0;
  fields >> user >> system;
  return user + system;
}

// It is due to be tried again all the time, and nothing is to be sent.
TEST_F(ShortObjects, WhileItsReplicaIsPausedItIsLeftAlone) {
  ASSERT_NO_FATAL_FAILURE(Start("ext4", "xfs"));
  ASSERT_EQ(0, symlink(std::string(2000, 't').c_str(), (mount_.path() + "/link").c_str()));
  ASSERT_TRUE(IsNamed("link"));
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  const pid_t tandemfs = mount_.process().pid();
  const uint64_t before = TicksOf(tandemfs);
  std::this_thread::sleep_for(std::chrono::seconds(4));
  EXPECT_LT(TicksOf(tandemfs) - before, 100u) << "a quarter of a processor";
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  ExpectEverythingElseGoesOn("link");
}

TEST_F(ShortObjects, ItIsKnownAfterBothHaveBeenKilled) {
  ASSERT_NO_FATAL_FAILURE(Start("xfs", "ext4"));
  Write(mount_.path() + "/fresh", "");
  stdfs::resize_file(mount_.path() + "/fresh", 20 * kTiB);
  stdfs::resize_file(culprit(), 20 * kTiB);
  ExpectEverythingElseGoesOn();
  store_->Kill();
  ASSERT_TRUE(store_->Start());
  ExpectEverythingElseGoesOn();
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  ExpectEverythingElseGoesOn();
  ExpectSyncSaysSo();
  EXPECT_EQ(OnReplica("culprit"), "old");
  EXPECT_EQ(OnReplica("fresh"), "");
  stdfs::remove(culprit());
  stdfs::remove(mount_.path() + "/fresh");
  ExpectHealed();
}

TEST_F(ShortObjects, AFirstCopyGoesWithoutIt) {
  ASSERT_NO_FATAL_FAILURE(Start("xfs", "ext4"));
  stdfs::resize_file(culprit(), 20 * kTiB);
  ExpectEverythingElseGoesOn();
  store_->Kill();
  stdfs::remove_all(store_->store());
  stdfs::create_directory(store_->store());
  ASSERT_TRUE(store_->Start());
  ExpectEverythingElseGoesOn();
  EXPECT_EQ(OnReplica("culprit"), "");
  stdfs::resize_file(culprit(), 3);
  ExpectHealed();
  EXPECT_EQ(OnReplica("culprit"), "old");
}

TEST_F(ShortObjects, ATargetTooLongForTheReplicaIsAnEmptyFileThere) {
  ASSERT_NO_FATAL_FAILURE(Start("ext4", "xfs"));
  const std::string link = mount_.path() + "/culprit-link";
  stdfs::create_symlink(std::string(2000, 'x'), link);
  ExpectEverythingElseGoesOn("culprit-link");
  ExpectSyncSaysSo();
  EXPECT_EQ(OnReplica("culprit-link"), "");
  EXPECT_EQ(mount_.Verify().code, 4);
  stdfs::remove(link);
  stdfs::create_symlink("short", link);
  ExpectHealed();
}

TEST_F(ShortObjects, MoreExtendedAttributesThanCanBeListedOrSent) {
  ASSERT_NO_FATAL_FAILURE(Start("xfs", "ext4"));
  const std::string many = mount_.path() + "/many-names";
  Write(many, "content");
  const std::string filling(240, 'n');
  for (int i = 0; i < 300; ++i) {
    const std::string name = "user." + std::to_string(i) + filling;
    ASSERT_EQ(setxattr(many.c_str(), name.c_str(), "x", 1, 0), 0) << i;
  }
  ExpectEverythingElseGoesOn("many-names");
  EXPECT_TRUE(WaitFor([&] { return OnReplica("many-names") == "content"; }));
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
  EXPECT_EQ(mount_.Verify().code, 4);
  stdfs::remove(many);
  ExpectHealed();

  const std::string value(60'000, 'v');
  for (int i = 0; i < 150; ++i) {
    const std::string name = "user." + std::to_string(i);
    ASSERT_EQ(setxattr(culprit().c_str(), name.c_str(), value.data(), value.size(), 0), 0) << i;
  }
  ExpectEverythingElseGoesOn();
  for (int i = 0; i < 150; ++i) {
    ASSERT_EQ(removexattr(culprit().c_str(), ("user." + std::to_string(i)).c_str()), 0);
  }
  ExpectHealed();
}

}  // namespace
}  // namespace tandem::test
