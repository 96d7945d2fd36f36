// A state database that is damaged in its schema or its rows is told from one that can be trusted.
#include "meta/state/state_schema.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "meta/change/file_handle.h"
#include "meta/state/state_database.h"
#include "tests/scratch.h"
#include "tools/state_directory.h"

namespace tandem::meta {
namespace {

const ObjectRef kKeptFile{ObjectId(7, 1), FileHandle("file's handle")};

constexpr const char* kTables[] = {"volume",     "epoch",       "object",  "hot",  "dirty_range",
                                   "dirty_attr", "dirty_entry", "replica", "place"};

// Of a database that holds one row of each kind.
class DamagedStateDatabase : public testing::Test {
 protected:
  StateDatabase Open() { return std::move(StateDatabase::Open(scratch_.path()).value()); }
  std::string path() const { return scratch_.Path("state.db"); }

  // Whether it opens after `sql`; if not, for which reason.
  std::optional<ErrorKind> OpensAfter(const std::string& sql) {
    std::filesystem::remove(path());
    Fill();
    {
      Database database = std::move(Database::Open(path(), Database::Sync::kNormal).value());
      const auto done = database.Execute(sql);
      EXPECT_TRUE(done) << done.error().ToString();
    }
    const auto opened = StateDatabase::Open(scratch_.path());
    if (opened) return std::nullopt;
    // What is wrong is said, not what was asked of SQLite.
    EXPECT_EQ(opened.error().ToString().find("SELECT"), std::string::npos)
        << opened.error().ToString();
    return opened.error().kind();
  }

 private:
  void Fill() {
    StateDatabase database = Open();
    ObjectChange change;
    change.AddData({10, 20});
    change.attributes = kStatAttributes;
    change.SetEntry("name", ObjectId(1, 1), ObjectId(2, 2));
    ASSERT_TRUE(database.Put("clean", "yes"));
    ASSERT_TRUE(database.InsertCut({{Epoch(1), CutId(9, 1)}, 1000}));
    ASSERT_TRUE(database.InsertHot(kKeptFile, HotRegion::Attributes()));
    change.handle = kKeptFile.handle;
    ASSERT_TRUE(database.AddDirty({kKeptFile, {{Epoch(1), change}}}));
    ASSERT_TRUE(database.PutReplica({"a", "tcp://y", {}, {}, true, {}, false}));
  }

  test::Scratch scratch_;
};

TEST_F(DamagedStateDatabase, OneThatIsNotOpens) { EXPECT_EQ(OpensAfter(""), std::nullopt); }

TEST_F(DamagedStateDatabase, AMissingTableOrColumnIsCorrupt) {
  for (const std::string table : kTables) {
    EXPECT_EQ(OpensAfter("DROP TABLE " + table), ErrorKind::kCorrupt) << table;
    EXPECT_EQ(OpensAfter("ALTER TABLE " + table + " RENAME TO other"), ErrorKind::kCorrupt);
    EXPECT_EQ(OpensAfter("ALTER TABLE " + table + " ADD COLUMN other"), ErrorKind::kCorrupt);
  }
  EXPECT_EQ(OpensAfter("ALTER TABLE hot DROP COLUMN handle"), ErrorKind::kCorrupt);
  EXPECT_EQ(OpensAfter("ALTER TABLE replica RENAME COLUMN url TO other"), ErrorKind::kCorrupt);
  EXPECT_EQ(OpensAfter("CREATE TABLE other AS SELECT * FROM volume; DROP TABLE volume;"
                       "ALTER TABLE other RENAME TO volume"),
            ErrorKind::kCorrupt)
      << "a primary key is missing";
}

TEST_F(DamagedStateDatabase, ASchemaNumberThatCannotBeIsCorrupt) {
  for (const int version : {-1, 0, 1, 2}) {
    EXPECT_EQ(OpensAfter("PRAGMA user_version=" + std::to_string(version)), ErrorKind::kCorrupt);
  }
}

TEST_F(DamagedStateDatabase, RowsThatHoldWhatCannotBeAreCorrupt) {
  for (const char* sql : {
           "UPDATE volume SET value=x'00'",
           "UPDATE epoch SET cut=x'00'",
           "UPDATE epoch SET wall_time='noon'",
           "UPDATE object SET handle=zeroblob(256)",
           "UPDATE object SET handle='text'",
           "UPDATE object SET id=x'00'",
           "UPDATE hot SET handle=zeroblob(256)",
           "UPDATE hot SET object=x'00'",
           "UPDATE hot SET region='all'",
           "INSERT INTO place VALUES(zeroblob(16), x'00', x'61')",
           "INSERT INTO place VALUES(x'00', zeroblob(16), x'61')",
           "INSERT INTO place VALUES(zeroblob(16), zeroblob(16), x'2f')",
           "UPDATE dirty_range SET start=-1",
           "UPDATE dirty_range SET start=30",
           "UPDATE dirty_range SET end='far'",
           "UPDATE dirty_range SET epoch='now'",
           "UPDATE dirty_range SET object=zeroblob(16)",
           "UPDATE dirty_attr SET mask=8",
           "UPDATE dirty_attr SET mask=-1",
           "UPDATE dirty_attr SET object=zeroblob(16)",
           "UPDATE dirty_entry SET name='text'",
           "UPDATE dirty_entry SET name=x'2f'",
           "UPDATE dirty_entry SET name=x'2e2e'",
           "UPDATE dirty_entry SET replaced=x'00'",
           "UPDATE dirty_entry SET parent=zeroblob(16)",
           "DELETE FROM object",
           "UPDATE replica SET durable_cut=x'00'",
           "UPDATE replica SET name=x'00'",
           "UPDATE replica SET paused='perhaps'",
       }) {
    EXPECT_EQ(OpensAfter(sql), ErrorKind::kCorrupt) << sql;
  }
}

TEST_F(DamagedStateDatabase, AHandleOfAnotherObjectIsCorrupt) {
  const FileHandle handle("a handle");
  StateDatabase database = Open();
  ASSERT_TRUE(database.InsertHot({ObjectIdOf(handle), handle}, HotRegion::Attributes()));
  ASSERT_TRUE(database.InsertHot({ObjectId(5, 5), FileHandle()}, HotRegion::Attributes()));
  ASSERT_TRUE(database.InsertHot({kRootObject, FileHandle("its")}, HotRegion::Attributes()));
  EXPECT_TRUE(database.CheckHandles());
  ASSERT_TRUE(database.InsertHot(kKeptFile, HotRegion::Attributes()));
  EXPECT_EQ(database.CheckHandles().error().kind(), ErrorKind::kCorrupt);
}

class StateDirectoryTest : public testing::Test {
 protected:
  Result<tools::StateDirectory> OpenDirectory() {
    return tools::StateDirectory::Open(state_, "volume", {{"/nowhere"}});
  }
  // A directory whose database has gone through `sql`.
  void Make(const std::string& sql) {
    auto directory = OpenDirectory();
    ASSERT_TRUE(directory) << directory.error().ToString();
    auto database = directory->OpenDatabase();
    ASSERT_TRUE(database) << database.error().ToString();
    ASSERT_TRUE(database->InsertCut({{Epoch(1), CutId(9, 1)}, 1000}));
    ASSERT_TRUE(database->database().Execute(sql));
  }
  bool IsSetAside() const { return std::filesystem::exists(state_ + "/state.db.damaged-1"); }

  const test::Scratch scratch_;
  const std::string state_ = scratch_.Path("state");
};

TEST_F(StateDirectoryTest, ReplacesADatabaseWithADamagedSchemaByAnEmptyOne) {
  for (const char* sql :
       {"DROP TABLE replica", "ALTER TABLE hot DROP COLUMN handle", "PRAGMA user_version=-7",
        "PRAGMA user_version=0", "INSERT INTO hot VALUES(randomblob(16), -1, 0, randomblob(12))"}) {
    SCOPED_TRACE(sql);
    std::filesystem::remove_all(state_);
    ASSERT_NO_FATAL_FAILURE(Make(sql));
    auto directory = OpenDirectory();
    ASSERT_TRUE(directory) << directory.error().ToString();
    auto database = directory->OpenDatabase();
    ASSERT_TRUE(database) << database.error().ToString();
    EXPECT_TRUE(database->LoadCuts().value().empty());
    EXPECT_TRUE(directory->database_was_lost());
    EXPECT_TRUE(IsSetAside());
  }
}

TEST_F(StateDirectoryTest, KeepsTheFormOfIdsWhicheverFileIsLost) {
  for (const IdForm form : {IdForm::kPlaced, IdForm::kHash}) {
    std::filesystem::remove_all(state_);
    if (form == IdForm::kHash) {  // as versions that knew no other have left it
      std::filesystem::create_directory(state_);
      std::ofstream(state_ + "/volume.json")
          << R"({"name":"volume","uuid":"00112233445566778899aabbccddeeff"})";
    }
    for (const std::string lost : {"", "volume.json", "state.db", "volume.json"}) {
      if (!lost.empty()) std::filesystem::remove(state_ + "/" + lost);
      auto directory = OpenDirectory();
      ASSERT_TRUE(directory) << directory.error().ToString();
      EXPECT_EQ(directory->id_form(), form) << "without " << lost;
      ASSERT_TRUE(directory->OpenDatabase());
    }
  }
}

TEST_F(StateDirectoryTest, BelievesNoDatabaseOfIdsOfAnotherForm) {
  ASSERT_NO_FATAL_FAILURE(Make(""));
  std::ofstream(state_ + "/volume.json")
      << R"({"name":"volume","uuid":"00112233445566778899aabbccddeeff"})";
  auto directory = OpenDirectory();
  ASSERT_TRUE(directory) << directory.error().ToString();
  EXPECT_EQ(directory->id_form(), IdForm::kHash);
  ASSERT_TRUE(directory->OpenDatabase());
  EXPECT_TRUE(directory->database_was_lost());
  EXPECT_TRUE(IsSetAside());
}

TEST_F(StateDirectoryTest, LeavesAnIdentityOfANewerProgramAlone) {
  std::filesystem::create_directory(state_);
  std::ofstream(state_ + "/volume.json")
      << R"({"name":"volume","uuid":"00112233445566778899aabbccddeeff","ids":"other"})";
  EXPECT_EQ(OpenDirectory().error().kind(), ErrorKind::kRefused);
}

TEST_F(StateDirectoryTest, RefusesAnIdentityThatIsNone) {
  for (const char* text :
       {"", "[]", "{}", R"({"name":5,"uuid":7,"ids":{}})", R"({"name":"volume","uuid":"00"})"}) {
    std::filesystem::remove_all(state_);
    std::filesystem::create_directory(state_);
    std::ofstream(state_ + "/volume.json") << text;
    EXPECT_EQ(OpenDirectory().error().kind(), ErrorKind::kCorrupt) << text;
  }
}

TEST_F(StateDirectoryTest, LeavesADatabaseOfANewerProgramAlone) {
  ASSERT_NO_FATAL_FAILURE(Make("PRAGMA user_version=99"));
  {
    auto directory = OpenDirectory();
    ASSERT_TRUE(directory) << directory.error().ToString();
    EXPECT_EQ(directory->OpenDatabase().error().kind(), ErrorKind::kRefused);
  }
  EXPECT_FALSE(IsSetAside());
  // Nor is another identity made up for it.
  std::filesystem::remove(state_ + "/volume.json");
  EXPECT_EQ(OpenDirectory().error().kind(), ErrorKind::kRefused);
  EXPECT_FALSE(std::filesystem::exists(state_ + "/volume.json"));
}

}  // namespace
}  // namespace tandem::meta
