// Databases that were damaged or lost are never silently trusted: it is said, they are set aside,
// and the trees become the same.
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

struct Loss {
  std::string name;
  std::function<void(const std::string& database)> inflict;
};

void PrintTo(const Loss& loss, std::ostream* stream) { *stream << loss.name; }

void OverwriteHeader(const std::string& database) { WriteAt(database, 0, RandomBytes(100)); }
void OverwritePages(const std::string& database) {
  const uint64_t size = stdfs::file_size(database);
  for (uint64_t at = 4096; at < size; at += 4096) WriteAt(database, at, RandomBytes(2048, at));
}
void TruncateToNothing(const std::string& database) { ASSERT_EQ(0, truncate(database.c_str(), 0)); }
void TruncateToHalf(const std::string& database) {
  ASSERT_EQ(0, truncate(database.c_str(), static_cast<off_t>(stdfs::file_size(database) / 2)));
}
void Remove(const std::string& database) { stdfs::remove(database); }
std::function<void(const std::string&)> Sql(const std::string& sql) {
  return [sql](const std::string& database) {
    const Outcome done = Execute({"sqlite3", "-batch", "-bail", database, sql});
    ASSERT_EQ(done.code, 0) << done;
  };
}

class LostState : public MountTest, public ::testing::WithParamInterface<Loss> {
 protected:
  std::string database() { return mount_.options().state + "/state.db"; }
};

TEST_P(LostState, IsSaidAndReconciled) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  // What is pending stands in the database alone.
  replica_.Kill();
  ChangeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Unmount());
  GetParam().inflict(database());

  ASSERT_TRUE(mount_.Start());
  EXPECT_THAT(mount_.process().err(), HasSubstr("econciled with the source"));
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_THAT(mount_.process().err(), HasSubstr("replica one: reconciling"));
  Write(mount_.path() + "/later", "goes on");
  EXPECT_TRUE(Converges());
}

INSTANTIATE_TEST_SUITE_P(
    Database, LostState,
    ::testing::Values(Loss{"HeaderOverwritten", OverwriteHeader},
                      Loss{"PagesOverwritten", OverwritePages}, Loss{"Emptied", TruncateToNothing},
                      Loss{"CutInHalf", TruncateToHalf}, Loss{"Removed", Remove},
                      Loss{"TableMissing", Sql("DROP TABLE dirty_entry")},
                      Loss{"ColumnMissing", Sql("ALTER TABLE hot DROP COLUMN handle")},
                      Loss{"NumberZero", Sql("PRAGMA user_version=0")},
                      Loss{"GarbageHandles", Sql("UPDATE object SET handle=randomblob(12)")}),
    [](const auto& one) { return one.param.name; });

// As after a power cut of source and state: the row is gone, and content with it that shows in no
// size and no time.
class LostRow : public MountTest {};

TEST_F(LostRow, OfAReplicaHasEverythingCompared) {
  const std::string path = source_ + "/file";
  Write(path, RandomBytes(100'000));
  for (int i = 0; i < 20; ++i) Write(source_ + "/other" + std::to_string(i), "");
  ASSERT_TRUE(StartBoth());
  // So that the file is none of those the replica changed last.
  for (int i = 0; i < 20; ++i) {
    Write(mount_.path() + "/other" + std::to_string(i), RandomBytes(100));
    ASSERT_TRUE(mount_.Sync());
  }
  mount_.Kill();
  const struct stat before = Lstat(path);
  WriteAt(path, 0, std::string(4096, '\0'));
  SetTimes(path, before.st_atim, before.st_mtim);
  const Outcome deleted = Execute(
      {"sqlite3", mount_.options().state + "/state.db", "DELETE FROM replica; SELECT changes();"});
  ASSERT_EQ(deleted.out, "1\n") << deleted;
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

using LostIdentity = MountTest;

TEST_F(LostIdentity, IsFoundInTheDatabase) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  stdfs::remove(mount_.options().state + "/volume.json");
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/later", "goes on");
  EXPECT_TRUE(Converges());
}

class OlderState : public MountTest {};

TEST_F(OlderState, IsNotTrustedOverWhatTheReplicaHas) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(mount_.Unmount());
  stdfs::copy(mount_.options().state, scratch_.Path("old"), stdfs::copy_options::recursive);
  ASSERT_TRUE(mount_.Start());
  ChangeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  replica_.Kill();
  Write(mount_.path() + "/file", "changed while the replica was away");
  ASSERT_TRUE(mount_.Unmount());
  stdfs::remove_all(mount_.options().state);
  stdfs::rename(scratch_.Path("old"), mount_.options().state);
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
}

class LostReplicaDatabase : public MountTest, public ::testing::WithParamInterface<Loss> {};

TEST_P(LostReplicaDatabase, IsSaidAndReconciled) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(replica_.Stop());
  ChangeEveryKind(mount_.path());
  GetParam().inflict(replica_.store() + "/" + kVolume + "/replica.db");
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_NE(replica_.process().err(), "");
}

INSTANTIATE_TEST_SUITE_P(Database, LostReplicaDatabase,
                         ::testing::Values(Loss{"HeaderOverwritten", OverwriteHeader},
                                           Loss{"PagesOverwritten", OverwritePages},
                                           Loss{"Emptied", TruncateToNothing},
                                           Loss{"Removed", Remove},
                                           Loss{"TableMissing", Sql("DROP TABLE lacking")},
                                           Loss{"NumberNegative", Sql("PRAGMA user_version=-1")}),
                         [](const auto& one) { return one.param.name; });

using LostReplica = MountTest;

TEST_F(LostReplica, StoreIsSeededAgain) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(replica_.Stop());
  stdfs::remove_all(replica_.store());
  ASSERT_TRUE(replica_.Start());
  Write(mount_.path() + "/later", "goes on");
  EXPECT_TRUE(Converges());
}

// Changes of it are to be applied once more, and it is not there. A file that is empty, of the
// right size, under a marker that says "applied" would be found by verify alone.
TEST_F(LostReplica, FileOfACutThatIsAppliedAgainIsSentAgain) {
  const auto has_stage = [this] {
    const auto files = stdfs::directory_iterator(replica_.store() + "/" + kVolume + "/stage");
    return std::any_of(begin(files), end(files),
                       [](const auto& file) { return file.path().extension() == ".stage"; });
  };
  Write(source_ + "/file", RandomBytes(100'000));
  Write(source_ + "/other", RandomBytes(100'000));
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  bool killed_in_time = false;
  ASSERT_TRUE(WaitFor([&] {
    if (!WaitFor([&] { return !has_stage(); })) return false;
    WriteAt(mount_.path() + "/file", 5000, RandomBytes(10));
    EXPECT_TRUE(mount_.Sync());
    replica_.Kill();
    killed_in_time = has_stage();
    if (!killed_in_time) {
      EXPECT_TRUE(replica_.Start());
    }
    return killed_in_time || HasFailure();
  })) << "its changes are always kept before it can be killed";
  ASSERT_TRUE(killed_in_time);
  ASSERT_TRUE(stdfs::remove(replica_.tree() + "/file"));
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_THAT(replica_.process().err(), HasSubstr("files were missing"));
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.ReplicaError(), "");
}

// Everything is compared, and what is the same is neither sent nor set aside.
TEST_F(LostReplica, CutIsFoundAgainOnADiskThatHasNoRoomForASecondCopy) {
  LoopDisk disk(scratch_, "store", "ext4", scratch_.Directory("store-disk"));
  ASSERT_TRUE(disk.Make(256 * kMiB));
  ReplicaDaemon replica(scratch_, "small", disk.directory() + "/store");
  stdfs::create_directory(replica.store());
  mount_.options().replicas = {"one=" + replica.url()};
  for (int i = 0; i < 4; ++i) {
    Write(source_ + "/file" + std::to_string(i), RandomBytes(36 * kMiB, i));
  }
  ASSERT_TRUE(replica.Start());
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(replica.Stop());
  stdfs::remove(replica.store() + "/" + kVolume + "/applied");
  WriteAt(replica.tree() + "/file2", 5 * kMiB, RandomBytes(10));
  ASSERT_TRUE(replica.Start());
  EXPECT_TRUE(test::Converges(mount_, replica));
  EXPECT_THAT(mount_.process().err(), HasSubstr("replica one: reconciling"));
}

// It is the same object by its other name, and the same name by the replica's database.
TEST_F(LostReplica, CutIsFoundAgainWithAllNamesOfAFile) {
  stdfs::create_directory(source_ + "/d");
  Write(source_ + "/file", "content");
  stdfs::create_hard_link(source_ + "/file", source_ + "/d/link");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  for (const bool in_its_place : {false, true}) {
    SCOPED_TRACE(in_its_place);
    const std::string link = replica_.tree() + "/d/link";
    ASSERT_TRUE(replica_.Stop());
    stdfs::remove(replica_.store() + "/" + kVolume + "/applied");
    stdfs::remove(link);
    if (in_its_place) Write(link, "another");
    ASSERT_TRUE(replica_.Start());
    EXPECT_TRUE(Converges());
    EXPECT_TRUE(stdfs::equivalent(link, replica_.tree() + "/file"));
  }
}

}  // namespace
}  // namespace tandem::test
