// What somebody else does in a replica's tree is said, holds nothing up, and what it did to content
// is undone as soon as the source changes the object.
#include "replica/apply/foreign_edits.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "replica/store/store.h"
#include "tests/files.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

const ObjectId kFile(3, 3);
const ObjectId kOther(4, 4);
const ObjectId kDirectory(5, 5);
const ObjectId kBelow(6, 6);

constexpr meta::Timestamp kThen{1'700'000'000, 123'456'789};

meta::Attributes AttributesOf(meta::Kind kind, uint64_t size) {
  meta::Attributes attributes;
  attributes.kind = kind;
  attributes.permissions = kind == meta::Kind::kDirectory ? 0755 : 0644;
  attributes.uid = geteuid();
  attributes.gid = getegid();
  attributes.size = size;
  attributes.access_time = attributes.modify_time = attributes.change_time = kThen;
  return attributes;
}

std::vector<Record> FileOf(ObjectId id, const std::string& content, bool whole = true) {
  return {ObjectRecord{id, whole, true, AttributesOf(meta::Kind::kFile, content.size())},
          DataRecord{id, 0, content.size(), Encoding::kLiteral, content, {}, 0, 0, 0}};
}

Record DirectoryOf(ObjectId id) {
  return ObjectRecord{id, true, true, AttributesOf(meta::Kind::kDirectory, 0)};
}

class ForeignEdits : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
    std::vector<Record> records = {DirectoryOf(kRootObject),
                                   DirectoryOf(kDirectory),
                                   EntryRecord{kRootObject, "d", kDirectory},
                                   EntryRecord{kDirectory, "f", kFile},
                                   EntryRecord{kRootObject, "other", kOther},
                                   DirectoryOf(kBelow),
                                   EntryRecord{kDirectory, "below", kBelow}};
    for (const auto& [id, content] : {std::pair(kFile, "content"), std::pair(kOther, "other")}) {
      const auto file = FileOf(id, content);
      records.insert(records.end(), file.begin(), file.end());
    }
    ASSERT_EQ(client_.Ship(records).code, ReplyCode::kOk);
    ASSERT_EQ(Notice(), "");
  }
  std::string At(const std::string& name) const { return scratch_.path() + "/vol/tree/" + name; }
  std::string Notice() {
    const Reply reply = client_.Ask(WaitApplied{client_.base(), 0});
    const auto* position = std::get_if<Position>(&reply.body);
    return position != nullptr ? position->notice : "no position: " + reply.message;
  }
  // A change that is no whole record. What the replica wants whole is sent so.
  Reply Change(ObjectId id, const std::string& content) {
    Reply reply = client_.Ship(FileOf(id, content, false));
    if (reply.code != ReplyCode::kMissingObjects) return reply;
    asked_for_ = reply.missing;
    if (Reply taken = client_.Ask(client_.MakeChunk(FileOf(id, content)));
        taken.code != ReplyCode::kOk) {
      return taken;
    }
    return client_.Finish(client_.NextCut());
  }
  void ExpectSaidAndMended(const std::string& what) {
    const Reply reply = Change(kFile, "CONTENT");
    EXPECT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    EXPECT_THAT(Notice(), AllOf(HasSubstr("1 objects in tree/"), HasSubstr(what)));
    EXPECT_EQ(test::Read(At("d/f")), "CONTENT");
    EXPECT_EQ(Change(kFile, "once more").code, ReplyCode::kOk);
    EXPECT_THAT(Notice(), HasSubstr("1 objects in tree/"));
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_ = Store::Open(scratch_.path()).value();
  ReplicaClient client_{*store_};
  std::vector<ObjectId> asked_for_;
};

TEST_F(ForeignEdits, NothingIsSaidOfWhatNobodyTouched) {
  EXPECT_EQ(Change(kFile, "another").code, ReplyCode::kOk);
  EXPECT_EQ(
      client_.Ship({EntryRecord{kDirectory, "f", {}}, EntryRecord{kRootObject, "g", kFile}}).code,
      ReplyCode::kOk);
  EXPECT_EQ(Change(kFile, "moved").code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ship({EntryRecord{kRootObject, "d", {}}}).code, ReplyCode::kOk);
  EXPECT_TRUE(asked_for_.empty());
  EXPECT_EQ(Notice(), "");
}

TEST_F(ForeignEdits, AFileThatGrewIsAskedForWhole) {
  std::ofstream(At("d/f"), std::ios::app) << " and more";
  ExpectSaidAndMended("d/f: its size is 16, not 7");
  EXPECT_EQ(asked_for_, std::vector{kFile});
}

TEST_F(ForeignEdits, AFileOfTheSameSizeIsKnownByItsTime) {
  test::WriteAt(At("d/f"), 6, "!");
  ExpectSaidAndMended("d/f: it was written to");
}

TEST_F(ForeignEdits, AFileInAnotherOnesPlaceIsRemoved) {
  test::Write(At("d/fresh"), "content");
  const timespec times[2] = {kThen.ToTimespec(), kThen.ToTimespec()};
  ASSERT_EQ(0, utimensat(AT_FDCWD, At("d/fresh").c_str(), times, 0));
  stdfs::rename(At("d/fresh"), At("d/f"));
  ASSERT_EQ(0, utimensat(AT_FDCWD, At("d").c_str(), times, 0));
  ExpectSaidAndMended("d/f: ");
}

TEST_F(ForeignEdits, AChangedModeIsSaidAndSetAgain) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: others change modes themselves";
  ASSERT_EQ(0, chmod(At("d/f").c_str(), 0777));
  ExpectSaidAndMended("d/f: its mode was changed");
  EXPECT_EQ(test::Lstat(At("d/f")).st_mode & 07777, 0644u);
  EXPECT_TRUE(asked_for_.empty());
}

TEST_F(ForeignEdits, AStrangerWhereANameIsToBeIsRemoved) {
  stdfs::create_directories(At("d/new/deep"));
  test::Write(At("d/new/deep/stranger"), "of somebody");
  EXPECT_EQ(
      client_.Ship({EntryRecord{kRootObject, "other", {}}, EntryRecord{kDirectory, "new", kOther}})
          .code,
      ReplyCode::kOk);
  EXPECT_THAT(Notice(), AllOf(HasSubstr("2 objects in tree/"), HasSubstr("d/new: it was not")));
  EXPECT_EQ(test::Read(At("d/new")), "other");
}

TEST_F(ForeignEdits, AStrangerInADirectoryThatGoesDoesNotHoldItUp) {
  stdfs::create_directories(At("d/below/stranger/deep"));
  test::Write(At("d/below/stranger/deep/file"), "of somebody");
  EXPECT_EQ(client_.Ship({EntryRecord{kRootObject, "d", {}}}).code, ReplyCode::kOk);
  EXPECT_THAT(Notice(), HasSubstr("d/below/stranger: it was not the replica's"));
  EXPECT_FALSE(stdfs::exists(At("d")));
}

TEST_F(ForeignEdits, WhatIsMountedOnTheTreeBlocksTheVolumeUntilItIsGone) {
  const std::vector<std::pair<std::string, std::string>> places = {{At(""), "tree"},
                                                                   {At("d/below"), "below"}};
  for (const auto& [place, name] : places) {
    if (mount("tmpfs", place.c_str(), "tmpfs", 0, "") != 0) GTEST_SKIP() << strerror(errno);
    EXPECT_THAT(Notice(), HasSubstr("tmpfs is mounted on")) << name;
    const Reply reply = client_.Ship(FileOf(kFile, "changed", false));
    EXPECT_EQ(reply.code, ReplyCode::kIoError) << name;
    EXPECT_THAT(reply.message, AllOf(HasSubstr("tmpfs is mounted on"), HasSubstr(name)));
    ASSERT_EQ(0, umount(place.c_str()));
    EXPECT_EQ(Change(kFile, "changed " + name).code, ReplyCode::kOk);
    EXPECT_EQ(test::Read(At("d/f")), "changed " + name);
    EXPECT_EQ(Notice(), "");
  }
}

TEST_F(ForeignEdits, AVolumeWithSomethingMountedOnItsTreeIsNotOpened) {
  if (mount("tmpfs", At("").c_str(), "tmpfs", 0, "") != 0) GTEST_SKIP() << strerror(errno);
  store_.reset();
  store_ = Store::Open(scratch_.path()).value();
  client_.Use(*store_);
  EXPECT_THAT(client_.Greet().message, HasSubstr("tmpfs is mounted on"));
  ASSERT_EQ(0, umount(At("").c_str()));
  EXPECT_EQ(client_.Greet().code, ReplyCode::kOk);
}

TEST(ForeignEdit, TimesThatAFilesystemRoundedDownAreNoEdit) {
  const meta::Attributes left = AttributesOf(meta::Kind::kFile, 0);
  const auto is_edit = [&](meta::Timestamp now) {
    struct stat here = {};
    here.st_mode = S_IFREG | 0644;
    here.st_uid = geteuid();
    here.st_mtim = now.ToTimespec();
    return !FindForeignEdit(left, here).what.empty();
  };
  EXPECT_FALSE(is_edit(kThen));
  EXPECT_FALSE(is_edit({kThen.seconds, 123'456'700}));
  EXPECT_FALSE(is_edit({kThen.seconds, 0}));
  EXPECT_TRUE(is_edit({kThen.seconds, 123'456'788}));
  EXPECT_TRUE(is_edit({kThen.seconds, 123'456'790}));
  EXPECT_TRUE(is_edit({kThen.seconds + 1, kThen.nanoseconds}));
}

}  // namespace
}  // namespace tandem::replica
