// What is written comes back, and a database that cannot be trusted is told from one that can.
#include "meta/state/state_database.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/scratch.h"
#include "tools/state_directory.h"

namespace tandem::meta {
namespace {

const ObjectRef kFile{ObjectId(7, 1), FileHandle("file's handle")};
const ObjectRef kDirectory{ObjectId(7, 2), FileHandle(std::string_view("\0\1 binary", 9))};

class StateDatabaseTest : public testing::Test {
 protected:
  StateDatabase Open() { return std::move(StateDatabase::Open(scratch_.path()).value()); }
  std::string path() const { return scratch_.Path("state.db"); }

  test::Scratch scratch_;
};

DirtyObject Dirty(const ObjectRef& object, Epoch epoch, ObjectChange change) {
  change.handle = object.handle;
  return {object, {{epoch, std::move(change)}}};
}

TEST_F(StateDatabaseTest, SettingsComeBack) {
  {
    StateDatabase database = Open();
    EXPECT_EQ(database.Get("clean").value(), std::nullopt);
    ASSERT_TRUE(database.Put("clean", "no"));
    ASSERT_TRUE(database.Put("clean", "yes"));
  }
  EXPECT_EQ(Open().Get("clean").value(), "yes");
}

TEST_F(StateDatabaseTest, HotRowsComeBackWithTheHandleOfTheirObject) {
  {
    StateDatabase database = Open();
    ASSERT_TRUE(database.InsertHot(kFile, HotRegion::Data(22, 3)));
    ASSERT_TRUE(database.InsertHot(kFile, HotRegion::Data(22, 3)));
    ASSERT_TRUE(database.InsertHot(kDirectory, HotRegion::Entries()));
    ASSERT_TRUE(database.InsertHot(kFile, HotRegion::Attributes()));
    ASSERT_TRUE(database.DeleteHot(kFile.id, HotRegion::Attributes()));
  }
  const auto rows = Open().LoadHot().value();
  ASSERT_EQ(rows.size(), 2u);
  for (const HotRow& row : rows) {
    const bool is_file = row.object.id == kFile.id;
    EXPECT_EQ(row.object.handle, is_file ? kFile.handle : kDirectory.handle);
    EXPECT_EQ(row.region.code(),
              is_file ? HotRegion::Data(22, 3).code() : HotRegion::Entries().code());
  }
}

TEST_F(StateDatabaseTest, ChangesComeBackByEpoch) {
  ObjectChange file;
  file.AddData({10, 20});
  file.AddData(ByteRange::From(1 << 20));
  file.suspect.Add({100, 200});
  file.attributes = kStatAttributes;
  ObjectChange directory;
  directory.SetEntry("plain", ObjectId(1, 1), ObjectId(2, 2));
  directory.SetEntry(std::string("od\xff\n'd"), ObjectId(1, 1), ObjectId());
  {
    StateDatabase database = Open();
    ASSERT_TRUE(database.AddDirty(Dirty(kFile, Epoch(5), file)));
    ASSERT_TRUE(database.AddDirty(Dirty(kDirectory, Epoch(6), directory)));
  }
  auto dirty = Open().LoadDirty().value();
  ASSERT_EQ(dirty.size(), 2u);
  const ObjectChange& file_back = dirty[Epoch(5)].at(kFile.id);
  EXPECT_EQ(file_back.data, file.data);
  EXPECT_EQ(file_back.suspect, file.suspect);
  EXPECT_EQ(file_back.attributes, kStatAttributes);
  EXPECT_FALSE(file_back.whole);
  EXPECT_EQ(file_back.handle, kFile.handle);
  const ObjectChange& directory_back = dirty[Epoch(6)].at(kDirectory.id);
  EXPECT_FALSE(directory_back.listing);
  ASSERT_EQ(directory_back.entries.size(), 2u);
  EXPECT_EQ(directory_back.entries.at("plain").replaced, ObjectId(2, 2));
  EXPECT_TRUE(directory_back.entries.contains("od\xff\n'd"));
  EXPECT_EQ(directory_back.handle, kDirectory.handle);
}

TEST_F(StateDatabaseTest, WholeObjectsAndWholeListingsComeBack) {
  ObjectChange whole;
  whole.AddWhole();
  ObjectChange listing;
  listing.listing = true;
  StateDatabase database = Open();
  ASSERT_TRUE(database.AddDirty(Dirty(kFile, Epoch(2), whole)));
  ASSERT_TRUE(database.AddDirty(Dirty(kDirectory, Epoch(2), listing)));
  auto dirty = database.LoadDirty().value();
  EXPECT_TRUE(dirty[Epoch(2)].at(kFile.id).whole);
  EXPECT_TRUE(dirty[Epoch(2)].at(kFile.id).data.Contains(ByteRange::Whole()));
  EXPECT_TRUE(dirty[Epoch(2)].at(kDirectory.id).listing);
  EXPECT_TRUE(dirty[Epoch(2)].at(kDirectory.id).entries.empty());
}

// Later epochs may take over what earlier ones hold; nothing may move to an earlier one.
TEST_F(StateDatabaseTest, ChangesOfSeveralEpochsAreNeverMadeOlder) {
  ObjectChange first, second;
  first.AddData({0, 100});
  first.attributes = kXattrAttributes;
  first.SetEntry("n", ObjectId(1, 1), ObjectId());
  second.AddData({0, 100});
  second.attributes = kStatAttributes;
  second.SetEntry("n", ObjectId(), ObjectId(1, 1));
  StateDatabase database = Open();
  ASSERT_TRUE(database.ReplaceDirty({kFile, {{Epoch(3), first}, {Epoch(4), second}}}));
  ASSERT_TRUE(database.DropDirty(Epoch(3)));
  auto dirty = database.LoadDirty().value();
  ASSERT_EQ(dirty.size(), 1u);
  const ObjectChange& left = dirty[Epoch(4)].at(kFile.id);
  EXPECT_TRUE(left.data.Contains({0, 100}));
  EXPECT_TRUE(left.attributes & kStatAttributes);
  EXPECT_TRUE(left.entries.contains("n"));
}

TEST_F(StateDatabaseTest, ReplacingForgetsWhatWasThereBefore) {
  ObjectChange before, after;
  before.AddData({0, 10});
  before.SetEntry("old", ObjectId(), ObjectId());
  after.attributes = kStatAttributes;
  StateDatabase database = Open();
  ASSERT_TRUE(database.AddDirty(Dirty(kFile, Epoch(1), before)));
  ASSERT_TRUE(database.ReplaceDirty(Dirty(kFile, Epoch(2), after)));
  auto dirty = database.LoadDirty().value();
  ASSERT_EQ(dirty.size(), 1u);
  EXPECT_TRUE(dirty[Epoch(2)].at(kFile.id).data.empty());
  EXPECT_TRUE(dirty[Epoch(2)].at(kFile.id).entries.empty());
}

TEST_F(StateDatabaseTest, DroppingKeepsTheCutItselfAndAllThatIsNewer) {
  StateDatabase database = Open();
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) {
    ASSERT_TRUE(database.InsertCut({{Epoch(epoch), CutId(9, epoch)}, 1000}));
    ObjectChange change;
    change.AddData({epoch * 100, epoch * 100 + 1});
    ASSERT_TRUE(database.AddDirty(Dirty(kFile, Epoch(epoch), change)));
  }
  ASSERT_TRUE(database.DropCuts(Epoch(2)));
  ASSERT_TRUE(database.DropDirty(Epoch(2)));
  const auto cuts = database.LoadCuts().value();
  ASSERT_EQ(cuts.size(), 2u);
  EXPECT_EQ(cuts[0].name, (CutName{Epoch(2), CutId(9, 2)}));
  EXPECT_EQ(cuts[0].wall_time_ns, 1000);
  const auto dirty = database.LoadDirty().value();
  ASSERT_EQ(dirty.size(), 1u);
  EXPECT_TRUE(dirty.contains(Epoch(3)));
}

TEST_F(StateDatabaseTest, ReplicasComeBack) {
  const ReplicaRecord replica{
      "b", "tcp://x", {Epoch(8), CutId(1, 2)}, {Epoch(7), CutId(3, 4)}, false, {}, true};
  {
    StateDatabase database = Open();
    ASSERT_TRUE(database.PutReplica(replica));
    ASSERT_TRUE(database.PutReplica({"a", "tcp://y", {}, {}, true, {}, false}));
    ASSERT_TRUE(database.PutReplica({"c", "tcp://z", {}, {}, true, {}, false}));
    ASSERT_TRUE(database.DeleteReplica("c"));
  }
  const auto replicas = Open().LoadReplicas().value();
  ASSERT_EQ(replicas.size(), 2u);
  EXPECT_EQ(replicas[0].name, "a");
  EXPECT_EQ(replicas[1].url, "tcp://x");
  EXPECT_EQ(replicas[1].durable, replica.durable);
  EXPECT_EQ(replicas[1].applied, replica.applied);
  EXPECT_FALSE(replicas[1].reconcile_owed);
  EXPECT_TRUE(replicas[1].paused);
}

TEST_F(StateDatabaseTest, ObjectsThatNothingNeedsAreDeleted) {
  StateDatabase database = Open();
  ObjectChange change;
  change.attributes = kStatAttributes;
  ASSERT_TRUE(database.AddDirty({kFile, {{Epoch(1), change}}}));
  ASSERT_TRUE(database.AddDirty({kDirectory, {{Epoch(2), change}}}));
  ASSERT_TRUE(database.DropDirty(Epoch(1)));
  ASSERT_TRUE(database.DeleteUnusedObjects());
  Statement count = std::move(database.database().Prepare("SELECT count(*) FROM object").value());
  ASSERT_TRUE(count.Step().value());
  EXPECT_EQ(count.Int(0), 1);
}

// What tables of schema 4 and before lack.
constexpr char kBefore5[] =
    "ALTER TABLE replica DROP COLUMN paused_until; ALTER TABLE replica DROP COLUMN bandwidth;";

TEST_F(StateDatabaseTest, ReplicasOfSchema4AreKept) {
  {
    StateDatabase database = Open();
    ASSERT_TRUE(database.PutReplica({"a", "tcp://y", {}, {}, true, {}, true, 5, "2M"}));
    ASSERT_TRUE(database.database().Execute(kBefore5));
    ASSERT_TRUE(database.database().SetUserVersion(4));
  }
  StateDatabase database = Open();
  const auto replicas = database.LoadReplicas().value();
  ASSERT_EQ(replicas.size(), 1u);
  EXPECT_TRUE(replicas[0].paused);
  EXPECT_EQ(replicas[0].paused_until, 0);
  EXPECT_EQ(replicas[0].bandwidth, "");
}

TEST_F(StateDatabaseTest, MarksOfSchema1AreKept) {
  {
    StateDatabase database = Open();
    ASSERT_TRUE(database.InsertHot(kFile, HotRegion::Attributes()));
    ASSERT_TRUE(database.database().Execute(
        "INSERT INTO object SELECT object, handle FROM hot; ALTER TABLE hot DROP COLUMN handle; "
        "DROP TABLE place"));
    ASSERT_TRUE(database.database().Execute(kBefore5));
    ASSERT_TRUE(database.database().SetUserVersion(1));
  }
  StateDatabase database = Open();
  const auto hot = database.LoadHot().value();
  ASSERT_EQ(hot.size(), 1u);
  EXPECT_EQ(hot[0].object.id, kFile.id);
  EXPECT_EQ(hot[0].object.handle, kFile.handle);
  ASSERT_TRUE(database.InsertHot(kDirectory, HotRegion::Entries()));
  EXPECT_EQ(database.LoadHot().value().size(), 2u);
}

TEST_F(StateDatabaseTest, MarksOfSchema2AreKept) {
  {
    StateDatabase database = Open();
    ASSERT_TRUE(database.InsertHot(kFile, HotRegion::Attributes()));
    ASSERT_TRUE(database.database().Execute("DROP TABLE place"));
    ASSERT_TRUE(database.database().Execute(kBefore5));
    ASSERT_TRUE(database.database().SetUserVersion(2));
  }
  StateDatabase database = Open();
  EXPECT_EQ(database.LoadHot().value().size(), 1u);
  EXPECT_TRUE(database.LoadPlaces().value().empty());
}

TEST_F(StateDatabaseTest, WhereObjectsAreIsWrittenWithTheirRowsAndGoesWithThem) {
  Whereabouts whereabouts;
  whereabouts.Note(kDirectory.id, kRootObject, "directory");
  whereabouts.Note(kFile.id, kDirectory.id, "file");
  const auto is_at = [](const Whereabouts::Row& row, const ObjectId& parent, const char* name) {
    return row.name.parent == parent && row.name.name == name;
  };
  StateDatabase database = Open();
  database.FollowNames(&whereabouts);
  ASSERT_TRUE(database.InsertHot(kFile, HotRegion::Attributes()));
  auto places = database.LoadPlaces().value();
  ASSERT_EQ(places.size(), 2u) << "the directory above, too";
  for (const auto& row : places) {
    EXPECT_TRUE(row.object == kFile.id ? is_at(row, kDirectory.id, "file")
                                       : is_at(row, kRootObject, "directory"));
  }
  whereabouts.NoteNameRemoved(kDirectory.id, kRootObject, "directory",
                              Whereabouts::OtherNames::kMaybe);
  whereabouts.NoteNameAdded(kDirectory.id, kRootObject, "renamed");
  ASSERT_TRUE(database.WriteOutdatedPlaces());
  places = database.LoadPlaces().value();
  EXPECT_TRUE(std::ranges::any_of(
      places, [&](const auto& row) { return is_at(row, kRootObject, "renamed"); }));
  ASSERT_TRUE(database.DeleteUnusedPlaces());
  EXPECT_EQ(database.LoadPlaces().value().size(), 2u);
  ASSERT_TRUE(database.DeleteHot(kFile.id, HotRegion::Attributes()));
  ASSERT_TRUE(database.DeleteUnusedPlaces());
  EXPECT_TRUE(database.LoadPlaces().value().empty());
}

TEST_F(StateDatabaseTest, ANewerSchemaIsRefused) {
  { ASSERT_TRUE(Open().database().SetUserVersion(99)); }
  const auto opened = StateDatabase::Open(scratch_.path());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind(), ErrorKind::kRefused);
  EXPECT_NE(opened.error().ToString().find("use one that knows schema 99"), std::string::npos);
}

TEST_F(StateDatabaseTest, ANewerNumberWithoutWhatAllSchemasHaveIsCorrupt) {
  { ASSERT_TRUE(Open().database().Execute("DROP TABLE volume; PRAGMA user_version=99")); }
  EXPECT_EQ(StateDatabase::Open(scratch_.path()).error().kind(), ErrorKind::kCorrupt);
}

TEST_F(StateDatabaseTest, AFileThatIsNoDatabaseIsCorrupt) {
  std::ofstream(path()) << std::string(8192, 'x');
  const auto opened = StateDatabase::Open(scratch_.path());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind(), ErrorKind::kCorrupt);
}

TEST_F(StateDatabaseTest, EpochsThatCannotBeAreCorrupt) {
  {
    StateDatabase fresh = Open();
    ASSERT_TRUE(fresh.database().Execute("INSERT INTO object VALUES(zeroblob(16),x'')"));
  }
  const std::string high = std::to_string(kNewestEpoch.number() + 1);
  const std::string deferred = std::to_string(kDeferredEpoch.number());
  const auto opens_with = [&](const std::string& table, const std::string& values) {
    const auto execute = [&](const std::string& sql) {
      Database database = std::move(Database::Open(path(), Database::Sync::kNormal).value());
      EXPECT_TRUE(database.Execute(sql)) << sql;
    };
    execute("INSERT INTO " + table + " VALUES(" + values + ")");
    const auto opened = StateDatabase::Open(scratch_.path());
    if (!opened) {
      EXPECT_EQ(opened.error().kind(), ErrorKind::kCorrupt);
    }
    execute("DELETE FROM " + table);
    return opened.has_value();
  };
  for (const std::string& epoch : {high, std::string("-1"), deferred}) {
    const bool may_be_dirty = epoch == deferred;
    EXPECT_FALSE(opens_with("epoch", epoch + ",zeroblob(16),0")) << epoch;
    EXPECT_EQ(opens_with("dirty_range", "zeroblob(16),0,1,0," + epoch), may_be_dirty) << epoch;
    EXPECT_EQ(opens_with("dirty_attr", "zeroblob(16),1," + epoch), may_be_dirty) << epoch;
    EXPECT_EQ(opens_with("dirty_entry", "zeroblob(16),x'61',NULL," + epoch), may_be_dirty) << epoch;
    EXPECT_FALSE(
        opens_with("replica", "'r','u'," + epoch + ",zeroblob(16),0,zeroblob(16),0,0,0,0,''"))
        << epoch;
    EXPECT_FALSE(
        opens_with("replica", "'r','u',0,zeroblob(16)," + epoch + ",zeroblob(16),0,0,0,0,''"))
        << epoch;
    EXPECT_FALSE(
        opens_with("replica", "'r','u',0,zeroblob(16),0,zeroblob(16),0," + epoch + ",0,0,''"))
        << epoch;
  }
  EXPECT_TRUE(opens_with("epoch", std::to_string(kNewestEpoch.number()) + ",zeroblob(16),0"));
}

TEST_F(StateDatabaseTest, ADamagedPageIsCorrupt) {
  {
    StateDatabase database = Open();
    for (uint64_t i = 0; i < 2000; ++i) {
      ASSERT_TRUE(
          database.InsertHot({ObjectId(1, i), FileHandle("handle")}, HotRegion::Attributes()));
    }
    ASSERT_TRUE(database.database().Checkpoint(Database::CheckpointMode::kPassive));
  }
  std::filesystem::remove(path() + "-wal");
  {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 * 20);
    file << std::string(4096 * 4, '\xee');
  }
  const auto opened = StateDatabase::Open(scratch_.path());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind(), ErrorKind::kCorrupt);
}

TEST_F(StateDatabaseTest, SettingAsideKeepsEveryDamagedOneAndMakesRoomForANew) {
  for (int n = 1; n <= 2; ++n) {
    std::ofstream(path()) << "damaged " << n;
    std::ofstream(path() + "-wal") << "its log";
    const auto aside = StateDatabase::SetAside(scratch_.path());
    ASSERT_TRUE(aside) << aside.error().ToString();
    EXPECT_EQ(*aside, path() + ".damaged-" + std::to_string(n));
    EXPECT_TRUE(std::filesystem::exists(*aside));
    EXPECT_TRUE(std::filesystem::exists(*aside + "-wal"));
    EXPECT_FALSE(std::filesystem::exists(path() + "-wal"));
  }
  EXPECT_TRUE(Open().LoadCuts().value().empty());
}

TEST_F(StateDatabaseTest, TheStateDirectoryReplacesADamagedDatabaseByAnEmptyOne) {
  const std::string state = scratch_.Path("state");
  const std::vector<tools::StateDirectory::ReplicatedDirectory> outside = {{"/nowhere"}};
  { ASSERT_TRUE(tools::StateDirectory::Open(state, "volume", outside)); }
  std::ofstream(state + "/state.db") << std::string(100, 'x');
  auto directory = tools::StateDirectory::Open(state, "volume", outside);
  ASSERT_TRUE(directory) << directory.error().ToString();
  auto database = directory->OpenDatabase();
  ASSERT_TRUE(database) << database.error().ToString();
  EXPECT_TRUE(database->LoadCuts().value().empty());
  EXPECT_TRUE(std::filesystem::exists(state + "/state.db.damaged-1"));
}

}  // namespace
}  // namespace tandem::meta
