// Disks that become full: the store's while staging, applying and catching up, the state
// directory's under load. Nothing is lost, and it is said what to do.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

// Leaves so much, of what root may use as well if it is nothing; returns the file to be removed.
std::string FillUp(const std::string& directory, size_t free_bytes) {
  std::string filler = directory + "/filler";
  for (const size_t size : {64 << 10, 4 << 10}) {
    const std::string piece(size, 'x');
    std::ofstream file(filler, std::ios::binary | std::ios::app);
    while (free_bytes == 0 || stdfs::space(directory).available > free_bytes + size) {
      if (!file.write(piece.data(), static_cast<std::streamsize>(size)).flush()) break;
    }
  }
  return filler;
}

// ---- Of the store ------------------------------------------------------------------------------

class FullStore : public MountTest {
 protected:
  // The store on a filesystem of which so much is free.
  void MakeStore(size_t free_bytes, const char* type = "ext4") {
    disk_ = std::make_unique<LoopDisk>(scratch_, "store", type, scratch_.Directory("store-disk"));
    ASSERT_TRUE(disk_->Make((type == std::string("xfs") ? 320 : 256) * kMiB));
    filler_ = FillUp(disk_->directory(), free_bytes);
    full_ = std::make_unique<ReplicaDaemon>(scratch_, "full", disk_->directory() + "/store");
    stdfs::create_directory(full_->store());
    mount_.options().replicas = {"one=" + full_->url()};
  }

  void ExpectBlockedUntilThereIsSpace() {
    EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
    EXPECT_THAT(mount_.ReplicaError(),
                ::testing::AnyOf(HasSubstr("No space"), HasSubstr("no space")));
    Write(mount_.path() + "/while-blocked", "the source goes on");
    EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
    stdfs::remove(filler_);
    EXPECT_TRUE(test::Converges(mount_, *full_));
    EXPECT_TRUE(mount_.WaitForState("current"));
  }

  void TearDown() override {
    mount_.Kill();
    full_.reset();
    disk_.reset();
  }

  std::string filler_;
  std::unique_ptr<LoopDisk> disk_;
  std::unique_ptr<ReplicaDaemon> full_;
};

TEST_F(FullStore, BlocksTheLinkWhileStagingAndNothingIsLost) {
  MakeStore(20 * kMiB);
  ASSERT_TRUE(full_->Start());
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/small", "small");
  ASSERT_TRUE(mount_.Sync());
  Write(mount_.path() + "/large", RandomBytes(30 * kMiB));
  ExpectBlockedUntilThereIsSpace();
}

TEST_F(FullStore, BlocksTheLinkWhileApplyingAndNothingIsLost) {
  MakeStore(45 * kMiB);
  ASSERT_TRUE(full_->Start());
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Sync());
  // Small files are written twice: to the stage, and to the tree. In one cut: of two, the stage of
  // the first makes room for the second.
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  for (uint64_t i = 0; i < 300; ++i) {
    Write(mount_.path() + "/" + std::to_string(i), RandomBytes(100 << 10, i));
  }
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  ExpectBlockedUntilThereIsSpace();
}

// What is new fits only when what was removed in the same cut has gone.
class FullStoreOn : public FullStore, public ::testing::WithParamInterface<const char*> {};

TEST_P(FullStoreOn, IsEmptiedFirstOfWhatIsRemovedInACutThatDoesNotFit) {
  MakeStore(100 * kMiB, GetParam());
  ASSERT_TRUE(full_->Start());
  ASSERT_TRUE(mount_.Start());
  const std::string path = mount_.path();
  const auto while_paused = [&](const auto& change) {
    ASSERT_EQ(mount_.Tandem("pause").code, 0);
    ASSERT_TRUE(mount_.WaitForState("paused"));
    change();
    ASSERT_EQ(mount_.Tandem("resume").code, 0);
  };
  while_paused([&] { Write(path + "/removed", RandomBytes(55 * kMiB)); });
  ASSERT_TRUE(mount_.Sync());
  while_paused([&] {
    stdfs::create_directory(path + "/directory");
    Write(path + "/removed-too", "new");
    stdfs::remove(path + "/removed");
    Write(path + "/other", RandomBytes(65 * kMiB));
    stdfs::rename(path + "/other", path + "/directory/other");
  });
  EXPECT_TRUE(mount_.Sync());
  EXPECT_TRUE(test::Converges(mount_, *full_));
  // The same by cutting it short; and what does not fit even so does not fit.
  while_paused([&] {
    stdfs::resize_file(path + "/directory/other", 5);
    stdfs::rename(path + "/directory/other", path + "/cut short");
    stdfs::remove(path + "/removed-too");
    Write(path + "/larger", RandomBytes(130 * kMiB));
  });
  EXPECT_TRUE(WaitFor([&] { return stdfs::exists(full_->tree() + "/cut short"); }));
  EXPECT_EQ(stdfs::file_size(full_->tree() + "/cut short"), 5u);
  EXPECT_FALSE(stdfs::exists(full_->tree() + "/removed-too"));
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
  mount_.Kill();  // the next run does not know what the replica has
  ASSERT_TRUE(mount_.Start());
  stdfs::remove(filler_);
  EXPECT_TRUE(test::Converges(mount_, *full_));
}

INSTANTIATE_TEST_SUITE_P(Disks, FullStoreOn, ::testing::Values("ext4", "xfs"),
                         [](const auto& type) { return std::string(type.param); });

TEST_F(FullStore, IsSurvivedByARestartOfTheReplica) {
  MakeStore(45 * kMiB);
  ASSERT_TRUE(full_->Start());
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/large", RandomBytes(60 * kMiB));
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  full_->Kill();
  ASSERT_TRUE(full_->Start());
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  stdfs::remove(filler_);
  EXPECT_TRUE(test::Converges(mount_, *full_));
}

TEST_F(FullStore, IsSaidBeforeAnythingIsSentToCatchUp) {
  MakeStore(70 * kMiB);
  ASSERT_TRUE(full_->Start());
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/sparse", "");
  Write(mount_.path() + "/large", "small");
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  // A hole takes no room.
  stdfs::resize_file(mount_.path() + "/sparse", size_t{1} << 40);
  Write(mount_.path() + "/large", RandomBytes(90 * kMiB));
  const uint64_t sent = mount_.SentBytes();
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
  // It is tried again and again meanwhile.
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(mount_.ReplicaError(), HasSubstr("to catch up takes about 91 MiB"));
  }
  EXPECT_EQ(Read(full_->tree() + "/large"), "small");
  EXPECT_LT(mount_.SentBytes() - sent, kMiB);
  stdfs::remove(filler_);
  EXPECT_TRUE(test::Converges(mount_, *full_));
}

// ---- Of the state ------------------------------------------------------------------------------

class FullState : public MountTest {
 protected:
  void TearDown() override {
    mount_.Kill();
    replica_.Kill();
    DetachBelow(mount_.path());
  }

  LoopDisk disk_{scratch_, "state", "ext4", mount_.options().state};
};

TEST_F(FullState, RefusesWhatCannotBeMarkedAndSaysNoSpace) {
  ASSERT_TRUE(disk_.Make(32 * kMiB));
  constexpr int kFiles = 5000;
  for (int i = 0; i < kFiles; ++i) Write(source_ + "/" + std::to_string(i), "before");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const std::string filler = FillUp(disk_.directory(), 0);
  int refused = -1;
  for (int i = 0; i < kFiles && refused < 0; ++i) {
    const std::string name = "/" + std::to_string(i);
    const UniqueFd file(open((mount_.path() + name).c_str(), O_WRONLY | O_CLOEXEC));
    if (pwrite(file.get(), "after.", 6, 0) == 6) continue;
    EXPECT_EQ(errno, ENOSPC);
    EXPECT_EQ(Read(source_ + name), "before");
    refused = i;
  }
  ASSERT_GE(refused, 0) << "nothing was ever refused";
  EXPECT_EQ(Read(mount_.path() + "/" + std::to_string(refused)), "before");
  stdfs::remove(filler);
  Write(mount_.path() + "/" + std::to_string(refused), "there is room again");
  EXPECT_TRUE(Converges());
}

// Operations that cannot be marked fail, and change nothing; what went through is never lost.
TEST_F(FullState, LetsNothingThroughUnmarked) {
  ASSERT_TRUE(disk_.Make(32 * kMiB));
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const std::string filler = FillUp(disk_.directory(), 0);
  for (int round = 0; round < Times(3, 30) && !HasFailure(); ++round) {
    // Many objects, so that there are many marks.
    const Outcome workload = Execute(Workload(
        mount_.path(), FreshSeed(),
        {"--ops", "1500", "--threads", "4", "--tolerate-enospc", "--max-objects", "2000"}));
    EXPECT_EQ(workload.code, 0) << workload;
    if (round % 2 == 0) {
      mount_.Kill();
      stdfs::remove(filler);
      ASSERT_TRUE(mount_.Start());
      EXPECT_TRUE(Converges());
      FillUp(disk_.directory(), 0);
    }
  }
  stdfs::remove(filler);
  // It goes on without a restart.
  const Outcome workload = Execute(Workload(mount_.path(), 1, {"--ops", "300"}));
  EXPECT_EQ(workload.code, 0) << workload;
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
