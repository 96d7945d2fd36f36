// The power goes at any moment, on any of the disks: under the source, under the state, under the
// store. When it is back, source and replica become the same, whatever each of them has lost.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kDiskBytes = uint64_t{1} << 30;  // sparse

// Which of the disks, all of one type, lose their power. (Of one type, because what a filesystem
// can hold differs: the length of symlinks, the end of time.)
struct Setting {
  const char* type;
  bool source;
  bool state;
  bool store;
};

std::string NameOf(const Setting& setting) {
  return std::string(setting.type) + (setting.source ? "Source" : "") +
         (setting.state ? "State" : "") + (setting.store ? "Store" : "");
}

class PowerCut : public MountTest {
 protected:
  ::testing::AssertionResult MakeDisks(const Setting& setting) {
    const auto make = [this, &setting](const char* name, const std::string& over, bool weak) {
      disks_.push_back(std::make_unique<LoopDisk>(scratch_, name, setting.type, over));
      if (weak) weak_.push_back(disks_.back().get());
      return disks_.back()->Make(kDiskBytes);
    };
    auto made = make("source", source_, setting.source);
    if (made) made = make("state", mount_.options().state, setting.state);
    if (made) made = make("store", replica_.store(), setting.store);
    return made;
  }

  // What hangs on a disk that has lost its power dies with it.
  void CutPower(const Setting& setting, bool flush_log) {
    for (LoopDisk* disk : weak_) ASSERT_TRUE(disk->CutPower(flush_log));
    if (setting.source || setting.state) mount_.Kill();
    if (setting.store) replica_.Kill();
  }

  void Restart(const Setting& setting) {
    if (setting.source || setting.state) DetachBelow(mount_.path());
    for (LoopDisk* disk : weak_) ASSERT_TRUE(disk->Restart());
    if (setting.store) {
      ASSERT_TRUE(replica_.Start());
    }
    if (setting.source || setting.state) {
      ASSERT_TRUE(mount_.Start());
    }
  }

  void TearDown() override {
    mount_.Kill();
    replica_.Kill();
    DetachBelow(mount_.path());
    weak_.clear();
    disks_.clear();
  }

  std::vector<std::unique_ptr<LoopDisk>> disks_;
  std::vector<LoopDisk*> weak_;
};

class PowerCutUnderLoad : public PowerCut, public ::testing::WithParamInterface<Setting> {};

TEST_P(PowerCutUnderLoad, IsSurvived) {
  const Setting& setting = GetParam();
  std::mt19937_64 random(FreshSeed());
  ASSERT_TRUE(MakeDisks(setting));
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  for (int cut = 0; cut < Times(6, 60) && !HasFailure(); ++cut) {
    Process workload(
        Workload(mount_.path(), random(),
                 {"--seconds", "0", "--threads", "2", "--tolerate-disconnect", "--max-objects",
                  "500", "--max-file-bytes", "2M", "--max-total-bytes", "60M"}));
    std::this_thread::sleep_for(milliseconds(random() % 1500));
    CutPower(setting, random() % 2 == 0);
    workload.Signal(SIGKILL);
    workload.Wait();
    Restart(setting);
    if (HasFailure()) break;
    ASSERT_TRUE(mount_.Sync()) << mount_.process().err();
    // xfs keeps blocks behind the end of files, and a power cut keeps it from giving them back.
    EXPECT_TRUE(SameTrees(source_, replica_.tree(), {"--no-holes"}))
        << "after " << cut + 1 << " power cuts\n"
        << mount_.process().err();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Disk, PowerCutUnderLoad,
    ::testing::Values(Setting{"ext4", true, false, false}, Setting{"ext4", false, true, false},
                      Setting{"ext4", true, true, false}, Setting{"ext4", false, false, true},
                      Setting{"xfs", true, false, false}, Setting{"xfs", false, true, false},
                      Setting{"xfs", true, true, false}, Setting{"xfs", false, false, true}),
    [](const auto& one) { return NameOf(one.param); });

constexpr Setting kSourceAndState{"ext4", true, true, false};

// What was overwritten in place has reached the disk, and nothing else of it: no time, no size, no
// word of the journal. The replica has never heard of it.
TEST_F(PowerCut, ContentThatAloneReachedTheDiskIsMarkedThere) {
  constexpr off_t kAt = 20 << 20;
  ASSERT_TRUE(MakeDisks(kSourceAndState));
  Write(source_ + "/large", RandomBytes(40 << 20));
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  // From here on the source's own sync says that the replica has nothing the disk could lose.
  ASSERT_TRUE(WaitFor(
      [this] { return mount_.Status()["synced_cut"] >= mount_.ReplicaStatus()["applied_cut"]; }));
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  sync();  // and what says so is on the state's disk
  WriteAt(mount_.path() + "/large", kAt, std::string(4096, 'x'));
  {
    const UniqueFd beneath(open((source_ + "/large").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(0, sync_file_range(beneath.get(), kAt, 4096,
                                 SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                     SYNC_FILE_RANGE_WAIT_AFTER));
  }
  CutPower(kSourceAndState, /*flush_log=*/false);
  Restart(kSourceAndState);
  ASSERT_EQ(ReadAt(source_ + "/large", kAt, 4), "xxxx")
      << "the case is not what it was meant to be";
  // The mark is the only trace, and has to outlast the wait for the replica.
  Write(mount_.path() + "/later", "written after the power cut");
  ASSERT_TRUE(WaitFor([this] { return mount_.Status()["hot_objects"] == 0; }));
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(Converges());
}

// The disk has forgotten content that the replica holds, but not the times that go with it.
TEST_F(PowerCut, ContentTheSourceLostWithItsTimesIntactIsTakenBackFromTheReplica) {
  ASSERT_TRUE(MakeDisks(kSourceAndState));
  Write(source_ + "/other", "other");
  {
    const UniqueFd file(open((source_ + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    ASSERT_EQ(0, fallocate(file.get(), 0, 0, 1 << 20));
  }
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  bool lost = false;
  for (int attempt = 0; attempt < 10 && !lost && !HasFailure(); ++attempt) {
    const std::string content = "attempt " + std::to_string(attempt);
    const off_t at = 100'000 + attempt * 20'000;
    WriteAt(mount_.path() + "/file", at, content);
    {
      // The journal takes the file's times along; its data waits.
      const UniqueFd other(open((mount_.path() + "/other").c_str(), O_RDWR | O_CLOEXEC));
      ASSERT_EQ(pwrite(other.get(), content.data(), content.size(), 0),
                static_cast<ssize_t>(content.size()));
      ASSERT_EQ(0, fsync(other.get()));
    }
    ASSERT_TRUE(mount_.Sync());
    ASSERT_EQ(ReadAt(replica_.tree() + "/file", at, content.size()), content);
    const struct stat before = Lstat(source_ + "/file");
    CutPower(kSourceAndState, /*flush_log=*/false);
    Restart(kSourceAndState);
    const struct stat after = Lstat(source_ + "/file");
    lost = ReadAt(source_ + "/file", at, content.size()) != content &&
           before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_size == after.st_size;
    ASSERT_TRUE(Converges()) << mount_.process().err();
  }
  EXPECT_TRUE(lost) << "the disk lost nothing in ten attempts: the case was not met";
}

// The same of bytes appended in a file's last block: nothing existed there, so no mark was made to
// last, and the database has forgotten it. That the replica changed the file after the last sync is
// all that tells.
TEST_F(PowerCut, AnAppendTheSourceLostWithItsTimesAndSizeIntactIsTakenBackFromTheReplica) {
  ASSERT_TRUE(MakeDisks(kSourceAndState));
  Write(source_ + "/other", "other");
  ASSERT_TRUE(StartBoth());
  bool lost = false;
  for (int attempt = 0; attempt < 10 && !lost && !HasFailure(); ++attempt) {
    const std::string name = "/log" + std::to_string(attempt);
    Write(mount_.path() + name, "begun;");
    ASSERT_TRUE(mount_.Sync());
    ASSERT_TRUE(WaitFor([this] { return mount_.Status()["hot_objects"] == 0; }));
    sync();  // nothing is known of it any more, anywhere
    WriteAt(mount_.path() + name, 6, "appended");
    {
      const UniqueFd other(open((source_ + "/other").c_str(), O_RDWR | O_CLOEXEC));
      ASSERT_EQ(pwrite(other.get(), "OTHER", 5, 0), 5);
      ASSERT_EQ(0, fsync(other.get()));
    }
    ASSERT_TRUE(WaitFor([&] { return Read(replica_.tree() + name) == "begun;appended"; }));
    const struct stat before = Lstat(source_ + name);
    CutPower(kSourceAndState, /*flush_log=*/false);
    Restart(kSourceAndState);
    const struct stat after = Lstat(source_ + name);
    lost = Read(source_ + name) != "begun;appended" && before.st_size == after.st_size &&
           before.st_ctim.tv_nsec == after.st_ctim.tv_nsec;
    ASSERT_TRUE(Converges()) << mount_.process().err();
  }
  EXPECT_TRUE(lost) << "the disk lost nothing in ten attempts: the case was not met";
}

}  // namespace
}  // namespace tandem::test
