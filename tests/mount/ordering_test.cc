// Backups put back, volumes mixed up: what a replica holds is known by ids, never by numbers or
// times, and nothing is ever built on the wrong base.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

// As an administrator would: owners, times and links kept, inode numbers not.
void Copy(const std::string& from, const std::string& to) {
  const Outcome copied = Execute({"cp", "-a", from, to});
  ASSERT_EQ(copied.code, 0) << copied;
}

void PutBack(const std::string& backup, const std::string& directory) {
  stdfs::remove_all(directory);
  Copy(backup, directory);
}

// For a directory that something holds open: only what is in it is replaced.
void PutBackInPlace(const std::string& backup, const std::string& directory) {
  for (const auto& entry : stdfs::directory_iterator(directory)) stdfs::remove_all(entry);
  Copy(backup + "/.", directory);
}

class BackupPutBack : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    MakeEveryKind(source_);
    Write(source_ + "/large", RandomBytes(8 * kMiB));
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }
  // More than one cut, some of it in files that were there before.
  void Work() {
    for (int i = 0; i < 3; ++i) {
      WriteAt(mount_.path() + "/large", static_cast<uint64_t>(i) * kMiB, RandomBytes(5000, i + 2));
      Write(mount_.path() + "/new-" + std::to_string(i), "new");
      ASSERT_TRUE(mount_.Sync());
    }
    ChangeEveryKind(mount_.path());
    ASSERT_TRUE(mount_.Sync());
  }
  const std::string backup_ = scratch_.Path("backup");
};

TEST_F(BackupPutBack, OfTheStoreIsBroughtForward) {
  ASSERT_TRUE(replica_.Stop());
  Copy(replica_.store(), backup_);
  ASSERT_TRUE(replica_.Start());
  Work();
  ASSERT_TRUE(replica_.Stop());
  PutBack(backup_, replica_.store());
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  WriteAt(mount_.path() + "/large", 7 * kMiB, "and on");
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(BackupPutBack, OfTheStoreWhileTheSourceIsAwayIsBroughtForward) {
  ASSERT_TRUE(replica_.Stop());
  Copy(replica_.store(), backup_);
  ASSERT_TRUE(replica_.Start());
  Work();
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(replica_.Stop());
  PutBack(backup_, replica_.store());
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(BackupPutBack, OfTheSourceTakesTheReplicaBackToo) {
  ASSERT_TRUE(mount_.Unmount());
  Copy(source_, backup_);
  ASSERT_TRUE(mount_.Start());
  Work();
  ASSERT_TRUE(mount_.Unmount());
  PutBack(backup_, source_);
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
  // Every file has another id, but much of the content is there under the same name.
  EXPECT_LT(mount_.SentBytes(), 4 * kMiB);
}

TEST_F(BackupPutBack, OfTheSourceInPlaceTakesTheReplicaBackToo) {
  ASSERT_TRUE(mount_.Unmount());
  Copy(source_, backup_);
  ASSERT_TRUE(mount_.Start());
  Work();
  ASSERT_TRUE(mount_.Unmount());
  PutBackInPlace(backup_, source_);
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(BackupPutBack, OfSourceAndStateTakesTheReplicaBackToo) {
  ASSERT_TRUE(mount_.Unmount());
  Copy(source_, backup_);
  Copy(mount_.options().state, backup_ + ".state");
  ASSERT_TRUE(mount_.Start());
  Work();
  ASSERT_TRUE(mount_.Unmount());
  PutBack(backup_, source_);
  PutBack(backup_ + ".state", mount_.options().state);
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(BackupPutBack, AnotherSourceWithTheStateIsRefused) {
  for (const bool cleanly : {true, false}) {
    if (cleanly) {
      ASSERT_TRUE(mount_.Unmount());
    } else {
      mount_.Kill();
    }
    Mount::Options options = mount_.options();
    options.source = scratch_.Directory(cleanly ? "other" : "another");
    Write(options.source + "/file", "of another source");
    Mount other(options);
    const Outcome refused = Execute(other.Command());
    EXPECT_EQ(refused.code, 2) << refused;
    EXPECT_THAT(refused.err, ::testing::HasSubstr(source_)) << refused;
    ASSERT_TRUE(mount_.Start());
    EXPECT_TRUE(Converges());
  }
}

TEST_F(BackupPutBack, AnEmptyDirectoryInPlaceOfTheSourceIsRefused) {
  ASSERT_TRUE(mount_.Unmount());
  stdfs::rename(source_, backup_);
  stdfs::create_directory(source_);
  const Outcome refused = Execute(mount_.Command());
  EXPECT_EQ(refused.code, 2) << refused;
  EXPECT_THAT(refused.err, ::testing::HasSubstr("is its disk mounted")) << refused;
  stdfs::remove(source_);
  stdfs::rename(backup_, source_);
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(BackupPutBack, AStoreWhoseTreeIsGoneIsFilledAgain) {
  ASSERT_TRUE(replica_.Stop());
  stdfs::remove_all(replica_.tree());
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(BackupPutBack, WhatWasTakenFromTheTreeIsSentAgainWhenAllIsCompared) {
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(stdfs::remove(replica_.tree() + "/large"));
  Write(source_ + "/large", RandomBytes(kMiB, 17));
  stdfs::remove(mount_.options().state + "/state.db");  // so all is
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(BackupPutBack, SyncDoesNotBelieveWhatWasTrueBeforeTheStoreWasWiped) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(replica_.Stop());
    stdfs::remove_all(replica_.store());
    ASSERT_TRUE(replica_.Start());
    EXPECT_TRUE(Converges());
  }
}

TEST_F(BackupPutBack, FilesEditedBehindTheMountInItsAbsenceAreFound) {
  WriteAt(mount_.path() + "/large", kMiB, "changed last");
  ASSERT_TRUE(mount_.Unmount());
  Write(source_ + "/large", RandomBytes(kMiB, 9));
  Write(source_ + "/unwatched", "made while nobody watched");
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(BackupPutBack, StoresOfTwoVolumesMixedUpAreRefused) {
  Mount::Options options = OptionsOf("second");
  options.source = scratch_.Directory("second.source");
  options.volume = "second";
  Mount second(options);
  ASSERT_TRUE(second.Start());
  Write(second.path() + "/of-the-second", "second");
  ASSERT_TRUE(second.Sync());
  ASSERT_TRUE(replica_.Stop());
  const std::string first_store = replica_.store() + "/" + kVolume;
  const std::string second_store = replica_.store() + "/second";
  const auto exchange = [&] {
    stdfs::rename(first_store, backup_);
    stdfs::rename(second_store, first_store);
    stdfs::rename(backup_, second_store);
  };
  exchange();
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  EXPECT_TRUE(second.WaitForState("blocked"));
  EXPECT_THAT(mount_.ReplicaError(), ::testing::HasSubstr("volume"));
  EXPECT_EQ(Read(first_store + "/tree/of-the-second"), "second");
  ASSERT_TRUE(replica_.Stop());
  exchange();
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(second.Sync());
}

}  // namespace
}  // namespace tandem::test
