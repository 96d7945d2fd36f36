// Change sets with many new files, which threads of the redo make: what they make is what it would
// make itself, and what they cannot make it tries again.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "replica/apply/catalog.h"
#include "replica/apply/tuning.h"
#include "replica/store/store.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"

namespace tandem::replica {
namespace {

using meta::Kind;

class RedoBulk : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners are compared";
    store_ = Store::Open(scratch_.path()).value();
    client_ = std::make_unique<ReplicaClient>(*store_);
    Hear(client_->Greet());
  }
  void TearDown() override { test::ForbidNames(""); }

  void Hear(const Reply& reply) {
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    position_ = std::get<Position>(reply.body);
    EXPECT_EQ(position_.notice.find("another program"), std::string::npos) << position_.notice;
  }
  // Makes `count` files of every sort whose paths begin so.
  void MakeFiles(const std::string& directory, int count) {
    for (int i = 0; i < count; ++i) {
      const std::string path = directory + std::to_string(i);
      model_.Make(path, Kind::kFile, std::string(static_cast<size_t>(i % 60) * 70, 'x'));
      const uint32_t owner = i % 7 == 0 ? 1000 : 0;
      const mode_t mode = i % 5 == 0 ? 04755 : 0600 + static_cast<mode_t>(i % 64);
      const meta::Xattrs xattrs =
          i % 11 == 0 ? meta::Xattrs{{"user.number", std::to_string(i)}} : meta::Xattrs();
      model_.Change(path, mode, owner, xattrs);
    }
  }
  void Ship(size_t per_chunk) {
    Hear(client_->Ship(RecordsBetween(shipped_, model_, random_), per_chunk));
    shipped_ = model_;
  }
  // Adds a file whose content comes in one record, to what ShipAdded ships.
  void AddFile(const std::string& directory, const std::string& name, const std::string& content) {
    const ObjectId id = model_.Make(directory + "/" + name, Kind::kFile, content);
    added_.push_back(ObjectRecord{id, true, true, model_.objects.at(id).attributes});
    DataRecord data;
    data.object = id;
    data.length = content.size();
    data.bytes = content;
    added_.push_back(std::move(data));
    added_.push_back(EntryRecord{model_.At(directory), name, id});
  }
  // Ships the directory "d" and the files that were added to it.
  void ShipAdded() {
    for (const ObjectId directory : {model_.At("d"), kRootObject}) {
      const auto& attributes = model_.objects.at(directory).attributes;
      added_.insert(added_.begin(), ObjectRecord{directory, true, true, attributes});
    }
    added_.push_back(EntryRecord{kRootObject, "d", model_.At("d")});
    Hear(client_->Ship(added_, /*per_chunk=*/50));
  }
  void ExpectAllIsThere() {
    EXPECT_EQ(position_.short_count, 0u);
    EXPECT_EQ(Difference(PictureOf(model_), PictureOf(Tree())), "");
    EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/vol/stage/hold"));
    ExpectCatalogIsRight();
  }
  // Ends the store.
  void ExpectCatalogIsRight() {
    client_.reset();
    store_.reset();
    const auto catalog = Catalog::Open(scratch_.path() + "/vol/replica.db").value();
    EXPECT_EQ(catalog->Totals().value().objects, model_.objects.size());
    for (const auto& [id, object] : model_.objects) {
      const auto row = catalog->Find(id).value();
      ASSERT_TRUE(row) << id.ToHex();
      EXPECT_EQ(row->attributes.size, object.attributes.size);
      EXPECT_EQ(row->attributes.xattrs, object.attributes.xattrs);
      if (object.attributes.kind != Kind::kFile) continue;
      for (uint64_t at = 0; at < object.content.size(); at += BlockDigests::kBlock) {
        const auto digest = catalog->digests().Find(id, at / BlockDigests::kBlock).value();
        EXPECT_TRUE(BlockDigests::Matches(digest, object.content.substr(at, BlockDigests::kBlock)))
            << id.ToHex() << " at " << at;
      }
    }
  }
  std::string Tree() const { return scratch_.path() + "/vol/tree"; }

  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ReplicaClient> client_;
  Model model_;
  Model shipped_ = Model::Nothing();
  Position position_;
  std::vector<Record> added_;
  std::mt19937 random_{4711};
};

TEST_F(RedoBulk, AllThatTheyHaveIsThere) {
  MakeFiles("", 50);  // where the threads make nothing: the root is there already
  for (const std::string directory : {"d", "d/e", "d/e/f", "g"}) {
    model_.Make(directory, Kind::kDirectory);
    MakeFiles(directory + "/", 300);
  }
  model_.Link("d/1", "g/link");
  model_.Make("g/symlink", Kind::kSymlink, "d/1");
  model_.Make("g/fifo", Kind::kFifo);
  Ship(/*per_chunk=*/1000);
  ExpectAllIsThere();
}

TEST_F(RedoBulk, AFileAndItsContentInTwoChunks) {
  model_.Make("d", Kind::kDirectory);
  MakeFiles("d/", 300);
  Ship(/*per_chunk=*/1);
  ExpectAllIsThere();
}

TEST_F(RedoBulk, FilesOfSeveralBlocks) {
  model_.Make("d", Kind::kDirectory);
  for (size_t i = 0; i < 100; ++i) {
    AddFile("d", std::to_string(i), std::string((i + 1) * kBulkFileBytes / 90, 'x'));
  }
  ShipAdded();
  ExpectAllIsThere();
}

TEST_F(RedoBulk, AnInheritedAclDoesNotStay) {
  model_.Make("d", Kind::kDirectory);
  Ship(10);
  ASSERT_EQ(std::system(("setfacl -d -m u:1000:rwx " + Tree() + "/d").c_str()), 0);
  model_.Make("d/new", Kind::kDirectory);
  MakeFiles("d/new/", 300);
  // The directory's own attributes are set again with what changes in it.
  Ship(/*per_chunk=*/1000);
  ASSERT_EQ(std::system(("setfacl -k " + Tree() + "/d").c_str()), 0);
  EXPECT_EQ(Difference(PictureOf(model_), PictureOf(Tree())), "");
}

TEST_F(RedoBulk, WhatCannotBeMadeFallsShortAlone) {
  model_.Make("d", Kind::kDirectory);
  MakeFiles("d/", 300);
  model_.Make("d/bad", Kind::kFile, "content");
  test::ForbidNames("bad");
  Ship(/*per_chunk=*/1000);
  ASSERT_EQ(position_.short_count, 1u);
  EXPECT_EQ(position_.short_objects.front().path, "d/bad");
  test::ForbidNames("");
  model_.Make("other", Kind::kFile);
  Ship(/*per_chunk=*/1000);
  ExpectAllIsThere();
}

TEST_F(RedoBulk, WhatFailsOnceIsTriedAgain) {
  model_.Make("d", Kind::kDirectory);
  for (int i = 0; i < 300; ++i) AddFile("d", std::to_string(i), "content");
  test::FailTimesOf("/150");
  ShipAdded();
  EXPECT_TRUE(test::HasFailed());
  ExpectAllIsThere();
}

}  // namespace
}  // namespace tandem::replica
