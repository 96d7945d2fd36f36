#include "replica/apply/catalog.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "meta/base/database.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

class OlderCatalog : public testing::TestWithParam<int> {};

TEST_P(OlderCatalog, IsBroughtUpToDate) {
  const ScratchDirectory scratch;
  const std::string path = scratch.path() + "/replica.db";
  ASSERT_TRUE(Catalog::Open(path));
  {
    auto database = Database::Open(path, Database::Sync::kFull);
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->Execute("DROP TABLE standing"));
    if (GetParam() < 6) {
      ASSERT_TRUE(database->Execute("DROP TABLE digest; DROP TABLE damaged; DROP TABLE scrubbed"));
    }
    if (GetParam() < 5) {
      ASSERT_TRUE(database->Execute("DROP TABLE total"));
    }
    if (GetParam() < 3) {
      ASSERT_TRUE(database->Execute("DROP TABLE short"));
    }
    if (GetParam() < 4) {
      ASSERT_TRUE(database->Execute("DROP TABLE lacking"));
    }
    if (GetParam() > 1 && GetParam() < 4) {
      constexpr char kOld[] =
          "CREATE TABLE lacking (object BLOB PRIMARY KEY, xattrs BLOB) WITHOUT ROWID;";
      ASSERT_TRUE(database->Execute(kOld));
    }
    ASSERT_TRUE(database->SetUserVersion(GetParam()));
  }
  auto catalog = Catalog::Open(path);
  ASSERT_TRUE(catalog) << catalog.error().ToString();
  const ObjectId object(1, 2);
  ASSERT_TRUE((*catalog)->lacking().Note(object, "user.a user.b", "setuid"));
  const LackingAttributes lacking = (*catalog)->lacking().Count().value();
  EXPECT_EQ(lacking.unset.objects, 1u);
  EXPECT_EQ(lacking.unset.names, "user.a user.b");
  EXPECT_EQ(lacking.withheld.objects, 1u);
  EXPECT_EQ(lacking.withheld.names, "setuid");
  ASSERT_TRUE((*catalog)->Remove(object));
  EXPECT_EQ((*catalog)->lacking().Count()->unset.objects, 0u);
  EXPECT_EQ((*catalog)->lacking().Count()->withheld.objects, 0u);
  EXPECT_EQ(*(*catalog)->short_objects().Count(), 0u);
  EXPECT_EQ(*(*catalog)->damaged().Count(), 0u);
  EXPECT_TRUE((*catalog)->standing().List()->empty());
}

TEST(CatalogWithoutDigests, KnowsNothingOfTheContentOfItsFiles) {
  const ScratchDirectory scratch;
  const std::string path = scratch.path() + "/replica.db";
  const ObjectId old(1, 1);
  {
    const auto catalog = Catalog::Open(path).value();
    auto part = catalog->Begin();
    CatalogObject file;
    file.attributes.kind = meta::Kind::kFile;
    ASSERT_TRUE(catalog->Put(old, file, Epoch(1)));
    ASSERT_TRUE(part->Release());
    ASSERT_TRUE(catalog->Keep());
  }
  {
    auto database = Database::Open(path, Database::Sync::kFull);
    ASSERT_TRUE(database->Execute(
        "DROP TABLE digest; DROP TABLE damaged; DROP TABLE scrubbed; DROP TABLE standing"));
    ASSERT_TRUE(database->SetUserVersion(5));
  }
  const auto catalog = Catalog::Open(path).value();
  EXPECT_EQ(catalog->digests().Find(old, 0).value(), BlockDigests::kUnknown);
  EXPECT_EQ(catalog->digests().Find(ObjectId(2, 2), 0).value(), BlockDigests::kZeros);
}

INSTANTIATE_TEST_SUITE_P(Schemas, OlderCatalog, testing::Values(1, 2, 3, 4, 5, 6));

class CatalogTotalsTest : public testing::Test {
 protected:
  void Change(const std::function<void(Catalog&)>& change, bool release = true) {
    auto part = catalog_->Begin();
    ASSERT_TRUE(part);
    change(*catalog_);
    ASSERT_TRUE(catalog_->SetApplied({{Epoch(++cut_), CutId(1, cut_)}, 0}));
    if (release) {
      ASSERT_TRUE(part->Release());
    }
  }
  static CatalogObject FileOf(uint64_t size) {
    CatalogObject file{InodeId{ObjectId(size, 1)}, {}};
    file.attributes.kind = meta::Kind::kFile;
    file.attributes.size = size;
    return file;
  }
  void Put(uint64_t number, const CatalogObject& value, bool release = true) {
    Change(
        [&](Catalog& catalog) { ASSERT_TRUE(catalog.Put(ObjectId(1, number), value, Epoch(1))); },
        release);
  }
  CatalogTotals Totals() { return catalog_->Totals().value(); }
  // Lets a new start count all rows, as it does for an older database.
  CatalogTotals Recount() {
    EXPECT_TRUE(catalog_->Keep());
    catalog_.reset();
    {
      auto database = Database::Open(path_, Database::Sync::kFull);
      EXPECT_TRUE(
          database->Execute("DROP TABLE total; DROP TABLE digest; DROP TABLE damaged; DROP TABLE "
                            "scrubbed; DROP TABLE standing"));
      EXPECT_TRUE(database->SetUserVersion(4));
    }
    catalog_ = Catalog::Open(path_).value();
    return Totals();
  }

  const ScratchDirectory scratch_;
  const std::string path_ = scratch_.path() + "/replica.db";
  std::unique_ptr<Catalog> catalog_ = Catalog::Open(path_).value();
  uint64_t cut_ = 0;
};

TEST_F(CatalogTotalsTest, FollowEveryRow) {
  EXPECT_EQ(Totals(), CatalogTotals());
  Put(1, FileOf(1));
  Put(2, FileOf(5000));
  EXPECT_EQ(Totals(), (CatalogTotals{3 * 4096, 2}));
  Put(2, FileOf(4096));
  EXPECT_EQ(Totals(), (CatalogTotals{2 * 4096, 2}));
  CatalogObject link{InodeId{ObjectId(7, 7)}, {}};
  link.attributes.kind = meta::Kind::kSymlink;
  link.attributes.link_target = "0123456789";
  link.attributes.xattrs["user.name"] = "value";
  Put(3, link);
  const CatalogTotals three = Totals();
  EXPECT_GT(three.bytes, 2 * 4096u + 10 + 14);
  EXPECT_EQ(Recount(), three);
  Put(4, FileOf(1 << 30), /*release=*/false);
  EXPECT_EQ(Totals(), three) << "a redo that failed has changed nothing";
  Put(5, FileOf(std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(Totals(), (CatalogTotals{three.bytes + (uint64_t{1} << 46), 4}));
  EXPECT_EQ(Recount(), Totals());
  for (uint64_t number = 1; number <= 9; ++number) {
    Change([&](Catalog& catalog) { ASSERT_TRUE(catalog.Remove(ObjectId(1, number))); });
  }
  EXPECT_EQ(Totals(), CatalogTotals());
}

class DamagedCatalog : public testing::Test {
 protected:
  static constexpr ObjectId kObject{3, 4};
  static constexpr InodeId kInode{ObjectId(5, 6)};

  void SetUp() override {
    auto catalog = Catalog::Open(path_);
    ASSERT_TRUE(catalog) << catalog.error().ToString();
    auto part = (*catalog)->Begin();
    ASSERT_TRUE(part);
    ASSERT_TRUE((*catalog)->Put(kObject, {kInode, {}}, Epoch(1)));
    ASSERT_TRUE((*catalog)->SetEntry({kRootObject, "name"}, kObject, Epoch(1)));
    ASSERT_TRUE(part->Release());
    ASSERT_TRUE((*catalog)->Keep());
  }
  void Damage(const std::string& sql) {
    auto database = Database::Open(path_, Database::Sync::kFull);
    ASSERT_TRUE(database);
    const auto done = database->Execute(sql);
    ASSERT_TRUE(done) << done.error().ToString();
  }
  // kUsage for a newer one.
  ErrorKind KindAfter(const std::string& sql) {
    std::filesystem::remove(path_);
    EXPECT_TRUE(Catalog::Open(path_));
    Damage(sql);
    const auto opened = Catalog::Open(path_);
    EXPECT_FALSE(opened) << sql;
    if (opened) return ErrorKind::kCancelled;
    EXPECT_EQ(opened.error().ToString().find("SELECT"), std::string::npos)
        << opened.error().ToString();
    return opened.error().kind();
  }

  const ScratchDirectory scratch_;
  const std::string path_ = scratch_.path() + "/replica.db";
};

TEST_F(DamagedCatalog, AMissingTableOrColumnIsCorrupt) {
  for (const std::string table : {"object", "entry", "applied", "lacking"}) {
    EXPECT_EQ(KindAfter("DROP TABLE " + table), ErrorKind::kCorrupt) << table;
    EXPECT_EQ(KindAfter("ALTER TABLE " + table + " ADD COLUMN other"), ErrorKind::kCorrupt);
  }
  EXPECT_EQ(KindAfter("ALTER TABLE object DROP COLUMN cut"), ErrorKind::kCorrupt);
}

TEST_F(DamagedCatalog, ASchemaNumberThatCannotBeIsCorrupt) {
  for (const int version : {-1, 0, 1}) {
    EXPECT_EQ(KindAfter("PRAGMA user_version=" + std::to_string(version)), ErrorKind::kCorrupt);
  }
  EXPECT_EQ(KindAfter("DROP TABLE applied; PRAGMA user_version=99"), ErrorKind::kCorrupt);
}

TEST_F(DamagedCatalog, ANewerOneIsRefused) {
  EXPECT_EQ(KindAfter("PRAGMA user_version=99"), ErrorKind::kUsage);
  EXPECT_NE(Catalog::Open(path_).error().ToString().find("schema 99"), std::string::npos);
}

TEST_F(DamagedCatalog, AnAppliedCutThatCannotBeIsCorrupt) {
  EXPECT_EQ(KindAfter("UPDATE applied SET epoch=-1"), ErrorKind::kCorrupt);
  EXPECT_EQ(KindAfter("UPDATE applied SET cut=x'00'"), ErrorKind::kCorrupt);
  EXPECT_EQ(KindAfter("DELETE FROM applied"), ErrorKind::kCorrupt);
}

TEST_F(DamagedCatalog, RowsOfObjectsThatHoldWhatCannotBeAreCorrupt) {
  ASSERT_TRUE(Catalog::Open(path_).value()->Find(kObject).value().has_value());
  for (const char* change :
       {"kind=0", "kind=8", "kind=257", "kind=NULL", "inode=x'00'", "permissions=32768", "uid=-1",
        "gid=4294967296", "size=-1", "link_count=-1", "modify_ns=1000000000", "change_ns=-1",
        "xattrs=x'ff'"}) {
    SCOPED_TRACE(change);
    Damage("SAVEPOINT s; CREATE TABLE kept AS SELECT * FROM object; UPDATE object SET " +
           std::string(change) + "; RELEASE s");
    {
      const auto catalog = Catalog::Open(path_).value();
      const auto found = catalog->Find(kObject);
      ASSERT_FALSE(found);
      EXPECT_EQ(found.error().kind(), ErrorKind::kCorrupt);
      // The statement can be used again.
      EXPECT_FALSE(catalog->Find(ObjectId(8, 8)).value().has_value());
      if (std::string_view(change).starts_with("kind")) {
        EXPECT_EQ(catalog->FindKind(kObject).error().kind(), ErrorKind::kCorrupt);
      }
    }
    Damage("DELETE FROM object; INSERT INTO object SELECT * FROM kept; DROP TABLE kept");
  }
  Damage("UPDATE object SET id=x'00'");
  EXPECT_EQ(Catalog::Open(path_).value()->FindInode(kInode).error().kind(), ErrorKind::kCorrupt);
}

TEST_F(DamagedCatalog, RowsOfNamesThatHoldWhatCannotBeAreCorrupt) {
  for (const char* name : {"x'2f'", "x'2e2e'", "x'612f62'", "x'00'"}) {
    Damage(std::string("UPDATE entry SET name=") + name);
    const auto catalog = Catalog::Open(path_).value();
    EXPECT_EQ(catalog->EntriesOf(kRootObject).error().kind(), ErrorKind::kCorrupt) << name;
    EXPECT_EQ(catalog->NamesOf(kObject).error().kind(), ErrorKind::kCorrupt) << name;
    EXPECT_TRUE(catalog->NamesOf(ObjectId(8, 8)).value().empty());
  }
  Damage("UPDATE entry SET name=x'61', child=x'00'");
  const auto catalog = Catalog::Open(path_).value();
  EXPECT_EQ(catalog->ChildOf({kRootObject, "a"}).error().kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(catalog->EntriesOf(kRootObject).error().kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace tandem::replica
