// Change sets on a real directory: what the source has is what the tree shows.
#include "replica/apply/redo.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <fstream>

#include "replica/store/store.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"

namespace tandem::replica {
namespace {

using meta::Kind;

class Redo : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners and devices are compared";
    Start();
  }
  void Start() {
    store_ = Store::Open(scratch_.path()).value();
    client_ = std::make_unique<ReplicaClient>(*store_);
    ASSERT_EQ(client_->Greet().code, ReplyCode::kOk);
  }
  void Restart() {
    client_.reset();
    store_.reset();
    Start();
  }
  // Ships what has changed in model_ since the last time, and compares.
  void Cut() {
    const Reply reply = client_->Ship(RecordsBetween(shipped_, model_, random_));
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    notice_ = std::get<Position>(reply.body).notice;
    // Nobody but the redo works in the tree, and nothing it does looks otherwise.
    EXPECT_EQ(notice_.find("another program"), std::string::npos) << notice_;
    shipped_ = model_;
    Compare();
  }
  void Compare() {
    ASSERT_EQ(Difference(PictureOf(model_), PictureOf(Tree())), "");
    EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/vol/stage/hold"));
  }
  std::string Tree() const { return scratch_.path() + "/vol/tree"; }

  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ReplicaClient> client_;
  Model model_;
  Model shipped_ = Model::Nothing();
  std::string notice_;
  std::mt19937 random_{4711};
};

TEST_F(Redo, EveryKindOfObjectIsMade) {
  model_.Make("d", Kind::kDirectory);
  for (const Kind kind : {Kind::kFile, Kind::kDirectory, Kind::kSymlink, Kind::kFifo, Kind::kSocket,
                          Kind::kCharDevice, Kind::kBlockDevice}) {
    model_.Make(std::string("d/") + meta::NameOf(kind), kind, "content");
  }
  model_.Change("d/file", 06755, 1234, {{"user.a", "1"}, {"trusted.b", std::string("\0x", 2)}});
  Cut();
  model_.Change("d/file", 0644, 0, {});
  model_.Change("d", 01777, 7, {{"user.d", "2"}});
  Cut();
}

TEST_F(Redo, AttributesOfOverlaysAndSecurityModulesAreSetAndRemoved) {
  model_.Make("d", Kind::kDirectory);
  model_.Make("f", Kind::kFile, "content");
  model_.Change("d", 0755, 0, {{"trusted.overlay.opaque", "y"}, {"trusted.overlay.origin", "o"}});
  model_.Change("f", 0644, 0,
                {{"security.selinux", "system_u:object_r:etc_t:s0"},
                 {"security.ima", std::string("\4\1", 2)},
                 {"trusted.overlay.redirect", "/a"}});
  Cut();
  EXPECT_EQ(notice_, "");
  model_.Change("d", 0755, 0, {});
  model_.Change("f", 0644, 0, {{"security.selinux", "another"}});
  Cut();
  EXPECT_EQ(notice_, "");
}

TEST_F(Redo, AnAttributeThatCannotBeSetHoldsNothingUpAndIsCounted) {
  // Larger than a block; ext4 has no more for all of an object's attributes.
  const std::string much(60'000, 'x');
  model_.Make("f", Kind::kFile, "content");
  model_.Make("g", Kind::kFile, "content");
  model_.Change("f", 0644, 0, {{"user.small", "s"}, {"user.large", much}});
  model_.Change("g", 0644, 0, {{"user.large", much}});
  const auto ship = [&] {
    const Reply reply = client_->Ship(RecordsBetween(shipped_, model_, random_));
    EXPECT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    shipped_ = model_;
    return std::get<Position>(reply.body).notice;
  };
  const std::string notice = ship();
  if (notice.empty()) GTEST_SKIP() << "this filesystem takes them";
  EXPECT_NE(notice.find("extended attributes of 2 objects cannot be set (such as user.large)"),
            std::string::npos)
      << notice;
  char value[2];
  EXPECT_EQ(getxattr((Tree() + "/f").c_str(), "user.small", value, sizeof value), 1);
  Restart();
  model_.Change("f", 0600, 0, {{"user.small", "s"}});
  EXPECT_NE(ship().find("extended attributes of 1 objects"), std::string::npos);
  model_.Remove("g");
  EXPECT_EQ(ship(), "");
  Compare();
}

TEST_F(Redo, HolesStayHoles) {
  model_.Make("f", Kind::kFile, "start" + std::string(8 << 20, '\0') + "end");
  Cut();
  struct stat stat_buffer;
  ASSERT_EQ(stat((Tree() + "/f").c_str(), &stat_buffer), 0);
  EXPECT_LT(stat_buffer.st_blocks * 512, 64 << 10);
}

TEST_F(Redo, SwapsAndCyclesOfFiles) {
  model_.Make("a", Kind::kFile, "A");
  model_.Make("b", Kind::kFile, "B");
  model_.Make("c", Kind::kFile, "C");
  Cut();
  model_.Exchange("a", "b");
  Cut();
  model_.Exchange("a", "b");
  model_.Exchange("b", "c");
  Cut();
}

TEST_F(Redo, SwapsAndCyclesOfDirectories) {
  for (const char* name : {"a", "b", "c"}) {
    model_.Make(name, Kind::kDirectory);
    model_.Make(std::string(name) + "/in", Kind::kFile, name);
  }
  Cut();
  model_.Exchange("a", "b");
  Cut();
  model_.Exchange("a", "b");
  model_.Exchange("b", "c");
  Cut();
}

TEST_F(Redo, DirectoryMovesIntoItsFormerChild) {
  model_.Make("a", Kind::kDirectory);
  model_.Make("a/b", Kind::kDirectory);
  model_.Make("a/b/c", Kind::kDirectory);
  model_.Make("a/b/c/f", Kind::kFile, "deep");
  Cut();
  model_.Rename("a/b/c", "c");
  model_.Rename("a", "c/a");
  Cut();
  EXPECT_EQ(model_.At("c/a/b").is_null(), false);
}

TEST_F(Redo, DirectoryMovesIntoItsFormerSiblingsChild) {
  model_.Make("a", Kind::kDirectory);
  model_.Make("b", Kind::kDirectory);
  model_.Make("b/c", Kind::kDirectory);
  Cut();
  model_.Rename("b/c", "c");
  model_.Rename("b", "c/b");
  model_.Rename("a", "c/b/a");
  model_.Make("c/b/a/new", Kind::kDirectory);
  model_.Rename("c", "z");
  Cut();
}

TEST_F(Redo, HardLinksComeAndGo) {
  model_.Make("d", Kind::kDirectory);
  model_.Make("d/a", Kind::kFile, "linked");
  model_.Link("d/a", "b");
  model_.Link("d/a", "c");
  Cut();
  model_.Remove("b");
  model_.Link("c", "d/e");
  model_.Rename("c", "d/f");
  Cut();
  model_.Write("d/f", 0, "LINKED");
  model_.Remove("d/a");
  model_.Rename("d/e", "moved");
  Cut();
  model_.Remove("d");
  Cut();
}

TEST_F(Redo, FileIsRenamedOverFile) {
  model_.Make("doc", Kind::kFile, "old");
  Cut();
  model_.Make("doc.tmp", Kind::kFile, "new");
  model_.Rename("doc.tmp", "doc");
  Cut();
}

TEST_F(Redo, NameChangesItsKind) {
  model_.Make("x", Kind::kDirectory);
  model_.Make("x/child", Kind::kFile, "kept");
  Cut();
  model_.Rename("x/child", "kept");
  model_.Remove("x");
  model_.Make("x", Kind::kSymlink);
  Cut();
  model_.Make("x", Kind::kFile, "file");
  Cut();
}

TEST_F(Redo, ObjectIdChangesItsKind) {
  const ObjectId id = model_.Make("x", Kind::kDirectory);
  model_.Make("x/gone", Kind::kFile, "gone");
  model_.Make("x/kept", Kind::kFile, "kept");
  Cut();
  model_.Rename("x/kept", "kept");
  model_.Remove("x/gone");
  ModelObject& object = model_.objects[id];
  object.attributes.kind = Kind::kFile;
  object.content = "now a file";
  object.attributes.size = object.content.size();
  auto records = RecordsBetween(shipped_, model_, random_);
  for (Record& record : records) {
    if (auto* about = std::get_if<ObjectRecord>(&record); about != nullptr && about->object == id) {
      about->whole = true;
    }
  }
  ASSERT_EQ(client_->Ship(records, 1000).code, ReplyCode::kOk);
  Compare();
}

TEST_F(Redo, DeepTreeIsRemoved) {
  std::string path = "d";
  model_.Make(path, Kind::kDirectory);
  for (int depth = 0; depth < 200; ++depth) {
    path += "/" + std::string(20, 'x');
    model_.Make(path, Kind::kDirectory);
  }
  model_.Make("survivor", Kind::kDirectory);
  auto records = RecordsBetween(shipped_, model_, random_);
  ASSERT_EQ(client_->Ship(records).code, ReplyCode::kOk);
  shipped_ = model_;
  model_.Rename(path.substr(0, path.rfind('/')), "survivor/saved");
  model_.Remove("d");
  Cut();
}

TEST_F(Redo, PreCopiedObjectsWithoutANameAreDropped) {
  model_.Make("f", Kind::kFile, "stays");
  Model precopied = model_;
  precopied.Make("gone", Kind::kDirectory);
  precopied.Make("gone/x", Kind::kFile, "never seen");
  precopied.Make("also", Kind::kFile, "never seen");
  auto records = RecordsBetween(shipped_, precopied, random_);
  const auto later = RecordsBetween(precopied, model_, random_);
  records.insert(records.end(), later.begin(), later.end());
  ASSERT_EQ(client_->Ship(records).code, ReplyCode::kOk);
  Compare();
}

TEST_F(Redo, LaterRecordsOverrideEarlierOnes) {
  Model first = model_;
  const ObjectId id = first.Make("f", Kind::kFile, std::string(10000, 'x'));
  Model second = first;
  second.Write("f", 5000, "changed");
  second.Resize("f", 6000);
  second.Change("f", 0600, 5, {{"user.late", "y"}});
  second.Rename("f", "g");
  auto records = RecordsBetween(shipped_, first, random_);
  const auto later = RecordsBetween(first, second, random_);
  records.insert(records.end(), later.begin(), later.end());
  ASSERT_EQ(client_->Ship(records).code, ReplyCode::kOk);
  model_ = second;
  Compare();
  EXPECT_EQ(model_.At("g"), id);
}

TEST_F(Redo, WholeRecordStartsTheContentAnew) {
  const ObjectId id = model_.Make("f", Kind::kFile, std::string(20000, 'x'));
  Cut();
  model_.objects[id].content = std::string(8192, '\0') + "tail";
  model_.objects[id].attributes.size = 8196;
  const std::vector<Record> records = {
      ObjectRecord{id, true, true, model_.objects[id].attributes},
      DataRecord{id, 8192, 4, Encoding::kLiteral, "tail", {}, 0, 0, 0}};
  ASSERT_EQ(client_->Ship(records).code, ReplyCode::kOk);
  Compare();
}

TEST_F(Redo, DataAloneLeavesTheRest) {
  const ObjectId id = model_.Make("f", Kind::kFile, std::string(5000, 'x'));
  model_.Change("f", 04711, 3, {{"user.k", "v"}});
  Cut();
  model_.objects[id].content.replace(10, 3, "abc");
  ASSERT_EQ(client_->Ship({DataRecord{id, 10, 3, Encoding::kLiteral, "abc", {}, 0, 0, 0}}).code,
            ReplyCode::kOk);
  Compare();
}

TEST_F(Redo, WhatSomebodyTookAwayIsAskedFor) {
  const ObjectId id = model_.Make("f", Kind::kFile, "content");
  model_.Make("d", Kind::kDirectory);
  Cut();
  std::filesystem::remove(Tree() + "/f");
  model_.Write("f", 0, "C");
  const Reply reply = client_->Ship(RecordsBetween(shipped_, model_, random_));
  ASSERT_EQ(reply.code, ReplyCode::kMissingObjects);
  EXPECT_EQ(reply.missing, std::vector<ObjectId>{id});
  // The same stage goes on with the object whole.
  const std::vector<Record> whole = {
      ObjectRecord{id, true, true, model_.objects[id].attributes},
      DataRecord{id, 0, 7, Encoding::kLiteral, model_.objects[id].content, {}, 0, 0, 0},
      ObjectRecord{kRootObject, false, true, model_.objects[kRootObject].attributes}};
  ASSERT_EQ(client_->Ask(client_->MakeChunk(whole)).code, ReplyCode::kOk);
  ASSERT_EQ(client_->Finish(client_->NextCut()).code, ReplyCode::kOk);
  Compare();
}

TEST_F(Redo, DefaultAclsDoNotLeak) {
  model_.Make("d", Kind::kDirectory);
  // version 2; user::rwx, group::rwx, other::rwx
  model_.objects[model_.At("d")].attributes.xattrs["system.posix_acl_default"] = std::string(
      "\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x07\0\xff\xff\xff\xff"
      "\x20\0\x07\0\xff\xff\xff\xff",
      28);
  Cut();
  model_.Make("d/f", Kind::kFile, "x");
  model_.Make("d/sub", Kind::kDirectory);
  model_.Change("d/sub", 0700, 0, {});
  Cut();
}

// ext4 has about 4000 bytes for all of them: there is no moment at which both large ones fit.
TEST_F(Redo, ExtendedAttributesThatExchangeTheirSizesFit) {
  model_.Make("f", Kind::kFile, "content");
  model_.Change("f", 0644, 0, {{"user.a", "small"}, {"user.b", std::string(3500, 'b')}});
  Cut();
  model_.Change("f", 0644, 0, {{"user.a", std::string(3500, 'a')}, {"user.b", "small"}});
  Cut();
}

TEST_F(Redo, RandomHistoriesEndAlike) {
  for (int cut = 0; cut < 150; ++cut) {
    for (unsigned steps = random_() % 30 + 1; steps > 0; --steps) model_.Mutate(random_);
    ASSERT_NO_FATAL_FAILURE(Cut()) << "cut " << cut;
    if (cut % 40 == 39) {
      ASSERT_NO_FATAL_FAILURE(Restart());
    }
  }
}

// What a power cut may leave: the catalog at an older cut than the tree, with the stages between
// kept. All of them are redone as one.
TEST_F(Redo, OlderCatalogCatchesUpFromKeptStages) {
  for (int round = 0; round < 12; ++round) {
    for (int steps = 0; steps < 20; ++steps) model_.Mutate(random_);
    ASSERT_NO_FATAL_FAILURE(Cut());
    Restart();
    const std::string volume = scratch_.path() + "/vol";
    const std::string saved = scratch_.path() + "/.saved";
    store_.reset();
    std::filesystem::remove_all(saved);
    std::filesystem::create_directory(saved);
    for (const auto& part : {"replica.db", "replica.db-wal"}) {
      std::error_code ignored;
      std::filesystem::copy_file(volume + "/" + part, saved + "/" + part, ignored);
    }
    Start();
    std::vector<std::string> stages;
    for (int cut = 0; cut < 3; ++cut) {
      for (int steps = 0; steps < 15; ++steps) model_.Mutate(random_);
      ASSERT_NO_FATAL_FAILURE(Cut());
      for (const auto& file : std::filesystem::directory_iterator(volume + "/stage")) {
        if (file.is_regular_file()) {
          std::filesystem::copy_file(file.path(), saved + "/" + file.path().filename().string(),
                                     std::filesystem::copy_options::overwrite_existing);
        }
      }
    }
    client_.reset();
    store_.reset();
    for (const auto& part : {"replica.db", "replica.db-wal", "replica.db-shm"}) {
      std::filesystem::remove(volume + "/" + part);
    }
    for (const auto& file : std::filesystem::directory_iterator(saved)) {
      const bool stage = file.path().extension() == ".stage";
      std::filesystem::copy_file(
          file.path(), volume + (stage ? "/stage/" : "/") + file.path().filename().string(),
          std::filesystem::copy_options::overwrite_existing);
    }
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_EQ(client_->WaitApplied(client_->base()).code, ReplyCode::kOk);
    ASSERT_NO_FATAL_FAILURE(Compare()) << "round " << round;
  }
}

}  // namespace
}  // namespace tandem::replica
