// Imported objects get the ids that the source has for them, and keep their inodes.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "replica/source/imported_objects.h"
#include "replica/store/import.h"
#include "replica/wire/imported.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

const ObjectId kFile(7, 7);
const ObjectId kOther(8, 8);

class RekeyTest : public testing::Test {
 protected:
  RekeyTest() {
    mkdir(copy_.c_str(), 0700);
    for (const char* name : {"/a", "/b"}) std::ofstream(copy_ + name) << "content";
    mkdir(store_path_.c_str(), 0700);
    const auto imported = ImportTree(store_path_, {"local", "vol"}, copy_, {});
    EXPECT_TRUE(imported) << imported.error().ToString();
    store_ = Store::Open(store_path_).value();
    client_.emplace(*store_);
    EXPECT_EQ(client_->Greet().code, ReplyCode::kOk);
  }
  void Restart() {
    store_.reset();
    store_ = Store::Open(store_path_).value();
    client_->Use(*store_);
    EXPECT_EQ(client_->Greet().code, ReplyCode::kOk);
  }
  std::map<std::string, ObjectId> Names() {
    const Reply reply = client_->Ask(List{kRootObject, Origin::kDatabase, {}});
    std::map<std::string, ObjectId> names;
    for (const Listed& listed : std::get<Listing>(reply.body).entries) {
      names[listed.name] = listed.object;
    }
    return names;
  }
  Listed FindOne(ObjectId object) {
    return std::get<Found>(client_->Ask(Find{{object}, Origin::kDatabase}).body).objects.front();
  }
  ino_t InodeOf(const std::string& name) {
    struct stat found = {};
    stat((store_path_ + "/vol/tree/" + name).c_str(), &found);
    return found.st_ino;
  }
  // The attributes of the file as the source would send them.
  ObjectRecord RecordOf(ObjectId object) {
    ObjectRecord record{object, false, true, FindOne(object).attributes};
    record.attributes.change_time = {5, 5};
    return record;
  }

  const ScratchDirectory scratch_;
  const std::string copy_ = scratch_.path() + "/copy";
  const std::string store_path_ = scratch_.path() + "/store";
  std::unique_ptr<Store> store_;
  std::optional<ReplicaClient> client_;
};

TEST_F(RekeyTest, AnObjectKeepsItsInodeAndContentUnderItsNewId) {
  const ino_t inode = InodeOf("a");
  const ObjectId before = Names().at("a");
  EXPECT_TRUE(IsPlaceholder(FindOne(before).attributes, FindOne(before).changed));
  for (int time = 0; time < 2; ++time) {  // a repeated one changes nothing
    EXPECT_EQ(client_->Ask(Rekey{{{before, kFile}}}).code, ReplyCode::kOk);
    EXPECT_EQ(Names().at("a"), kFile);
    EXPECT_TRUE(FindOne(before).object.is_null());
  }
  EXPECT_EQ(client_->Ship({RecordOf(kFile), EntryRecord{kRootObject, "b", {}}}).code,
            ReplyCode::kOk);
  EXPECT_EQ(InodeOf("a"), inode);
  EXPECT_EQ(InodeOf("b"), 0u);
  Restart();
  EXPECT_EQ(Names().at("a"), kFile);
  EXPECT_EQ(InodeOf("a"), inode);
}

TEST_F(RekeyTest, WhatDoesNotFitIsLeftOut) {
  const ObjectId a = Names().at("a");
  const ObjectId b = Names().at("b");
  EXPECT_EQ(client_->Ask(Rekey{{{a, kFile}, {b, kFile}, {kOther, ObjectId(9, 9)}}}).code,
            ReplyCode::kOk);
  EXPECT_EQ(client_->Ask(Rekey{{{b, kRootObject}, {kRootObject, kOther}, {b, {}}}}).code,
            ReplyCode::kOk);
  // An id that is the source's stays.
  EXPECT_EQ(client_->Ask(Rekey{{{kFile, kOther}}}).code, ReplyCode::kOk);
  const auto names = Names();
  EXPECT_EQ(names.at("a"), kFile);
  EXPECT_EQ(names.at("b"), b);
}

TEST_F(RekeyTest, IsForgottenWithAStageThatWasNotCommitted) {
  const ObjectId before = Names().at("a");
  EXPECT_EQ(client_->Ask(Rekey{{{before, kFile}}}).code, ReplyCode::kOk);
  EXPECT_EQ(client_->Begin().code, ReplyCode::kOk);
  Restart();
  const ObjectId now = Names().at("a");
  EXPECT_TRUE(now == before || now == kFile);
  EXPECT_EQ(client_->Ask(Rekey{{{before, kFile}}}).code, ReplyCode::kOk);
  EXPECT_EQ(Names().at("a"), kFile);
}

TEST_F(RekeyTest, IsRefusedOfAReplicaThatIsAtACut) {
  const ObjectId before = Names().at("a");
  EXPECT_EQ(client_->Ship({EntryRecord{kRootObject, "b", {}}}).code, ReplyCode::kOk);
  EXPECT_EQ(client_->Ask(Rekey{{{before, kFile}}}).code, ReplyCode::kBadRequest);
  EXPECT_EQ(Names().at("a"), before);
}

TEST(ImportedObjects, TimesMayBeCutToACoarserClock) {
  meta::Attributes ours;
  ours.size = 5;
  ours.modify_time = {1000, 123'456'789};
  const auto has_content = [&](meta::Timestamp time, uint64_t size, Epoch changed) {
    Listed theirs;
    theirs.attributes = ours;
    theirs.attributes.modify_time = time;
    theirs.attributes.size = size;
    theirs.changed = changed;
    return HasContentOf(ours, theirs);
  };
  for (const uint32_t nanoseconds : {123'456'789u, 123'456'700u, 123'456'000u, 123'000'000u, 0u}) {
    EXPECT_TRUE(has_content({1000, nanoseconds}, 5, kImportedAsItIs)) << nanoseconds;
  }
  EXPECT_FALSE(has_content({1000, 123'456'788}, 5, kImportedAsItIs));
  EXPECT_FALSE(has_content({1001, 123'456'789}, 5, kImportedAsItIs));
  EXPECT_FALSE(has_content(ours.modify_time, 6, kImportedAsItIs));
  EXPECT_TRUE(has_content(ours.modify_time, 5, Epoch(kRekeyed)));
  EXPECT_FALSE(has_content(ours.modify_time, 5, kImportedToCompare));
  EXPECT_FALSE(has_content(ours.modify_time, 5, Epoch(4)));
}

}  // namespace
}  // namespace tandem::replica
