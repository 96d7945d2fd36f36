// Content that is put where its object will be moved from.
#include "replica/apply/staged_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "replica/store/store.h"
#include "tests/loop_disk.h"
#include "tests/scratch.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

constexpr ObjectId kFile(0, 1000);
constexpr size_t kSize = 1 << 20;

std::string Bytes(size_t length, char byte) { return std::string(length, byte); }

ObjectRecord About(uint64_t size, bool whole) {
  ObjectRecord record;
  record.object = kFile;
  record.whole = whole;
  record.attributes.kind = meta::Kind::kFile;
  record.attributes.permissions = 0640;
  record.attributes.size = size;
  return record;
}

DataRecord Data(uint64_t offset, std::string bytes, bool fresh) {
  DataRecord record;
  record.object = kFile;
  record.offset = offset;
  record.length = bytes.size();
  record.bytes = std::move(bytes);
  record.fresh = fresh;
  return record;
}

DataRecord Hole(uint64_t offset, uint64_t length, bool fresh) {
  DataRecord record;
  record.object = kFile;
  record.offset = offset;
  record.length = length;
  record.encoding = Encoding::kHole;
  record.fresh = fresh;
  return record;
}

class StagedContent : public testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::Open(root_).value();
    client_ = std::make_unique<ReplicaClient>(*store_);
    ASSERT_EQ(client_->Greet().code, ReplyCode::kOk);
    ObjectRecord root;
    root.object = kRootObject;
    root.attributes.kind = meta::Kind::kDirectory;
    root.attributes.permissions = 0755;
    ASSERT_EQ(client_->Ship({root}).code, ReplyCode::kOk);
    ASSERT_EQ(client_->Begin().code, ReplyCode::kOk);
  }
  void Send(const std::vector<Record>& records) {
    const Reply reply = client_->Ask(client_->MakeChunk(records));
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  }
  void SendName() { Send({EntryRecord{kRootObject, "file", kFile}}); }
  void Finish() {
    const Reply reply = client_->Finish(client_->NextCut());
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  }
  std::string InTree() const {
    std::ifstream file(root_ + "/vol/tree/file", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string Staged() const {
    return root_ + "/vol/stage/" + client_->stage().ToHex() + StagedFiles::kSuffix + "/" +
           kFile.ToHex();
  }
  static ino_t InodeOf(const std::string& path) {
    struct stat stat_buffer = {};
    EXPECT_EQ(stat(path.c_str(), &stat_buffer), 0) << path;
    return stat_buffer.st_ino;
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.path();  // of the store
  std::unique_ptr<Store> store_;
  std::unique_ptr<ReplicaClient> client_;
};

TEST_F(StagedContent, OfANewObjectIsMovedNotCopied) {
  SendName();
  Send({About(2 * kSize, true), Data(0, Bytes(kSize, 'a'), true)});
  Send({Hole(kSize, kSize / 2, true), Data(kSize + kSize / 2, Bytes(kSize / 2, 'b'), true)});
  const ino_t inode = InodeOf(Staged());
  Finish();
  EXPECT_EQ(InodeOf(scratch_.path() + "/vol/tree/file"), inode);
  EXPECT_EQ(InTree(), Bytes(kSize, 'a') + Bytes(kSize / 2, '\0') + Bytes(kSize / 2, 'b'));
  struct stat stat_buffer = {};
  ASSERT_EQ(stat((scratch_.path() + "/vol/tree/file").c_str(), &stat_buffer), 0);
  EXPECT_EQ(stat_buffer.st_mode & 07777, 0640u);
  EXPECT_LT(static_cast<size_t>(stat_buffer.st_blocks) * 512, 2 * kSize);
}

TEST_F(StagedContent, IsWhatLaterRoundsMadeOfIt) {
  SendName();
  Send({About(2 * kSize, true), Data(0, Bytes(2 * kSize, 'a'), true)});
  // Shrunk, then grown: what was behind the end is zeros, whoever wrote there before.
  Send({About(kSize, false), Data(kSize - 4, "tail", false)});
  Send({About(3 * kSize, false), Hole(kSize, kSize, false), Data(2 * kSize, "far", false)});
  Finish();
  EXPECT_EQ(InTree(),
            Bytes(kSize - 4, 'a') + "tail" + Bytes(kSize, '\0') + "far" + Bytes(kSize - 3, '\0'));
}

TEST_F(StagedContent, BegunAnewCountsAlone) {
  SendName();
  Send({About(2 * kSize, true), Data(0, Bytes(2 * kSize, 'a'), true)});
  Send({About(3, true), Data(0, "new", false)});
  Finish();
  EXPECT_EQ(InTree(), "new");
}

TEST_F(StagedContent, IsNotOvertakenByWhatWasSentBefore) {
  SendName();
  const replica::Chunk before = client_->MakeChunk({About(8, false), Data(0, "outdated", false)});
  Send({About(kSize, true), Data(0, Bytes(kSize, 'a'), true)});
  ASSERT_EQ(client_->Ask(before).code, ReplyCode::kOk);
  Finish();
  EXPECT_EQ(InTree(), Bytes(kSize, 'a'));
}

TEST_F(StagedContent, OfAKnownObjectTakesThePlaceOfWhatWasThere) {
  SendName();
  Send({EntryRecord{kRootObject, "another", kFile}, About(5, true), Data(0, "small", false)});
  Finish();
  ASSERT_EQ(client_->Begin().code, ReplyCode::kOk);
  Send({About(kSize + 3, true), Hole(0, 4096, true), Data(4096, Bytes(kSize - 4093, 'c'), true)});
  const ino_t staged = InodeOf(Staged());
  Finish();
  for (const char* name : {"/vol/tree/file", "/vol/tree/another"}) {
    EXPECT_EQ(InodeOf(scratch_.path() + name), staged) << name;
  }
  EXPECT_EQ(InTree(), Bytes(4096, '\0') + Bytes(kSize - 4093, 'c'));
}

TEST_F(StagedContent, OfAStageThatEndsIsRemoved) {
  Send({About(kSize, true), Data(0, Bytes(kSize, 'a'), true)});
  const std::string staged = Staged();
  ASSERT_TRUE(std::filesystem::exists(staged));
  ASSERT_EQ(client_->Begin().code, ReplyCode::kOk);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(staged).parent_path()));
}

TEST_F(StagedContent, LeftBehindByAStageThatNeverWasIsRemovedAtStart) {
  Send({About(kSize, true), Data(0, Bytes(kSize, 'a'), true)});
  const std::string staged = Staged();
  store_.reset();
  store_ = Store::Open(scratch_.path()).value();
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(staged).parent_path()));
}

TEST_F(StagedContent, ThatWasNotSentIsRefused) {
  DataRecord record = Hole(0, kSize, true);
  record.encoding = Encoding::kStaged;
  record.basis = ObjectId(7, 7);
  EXPECT_EQ(client_->Ask(client_->MakeChunk({About(kSize, true), record})).code,
            ReplyCode::kBadRequest);
}

// Where blocks are shared large pieces of any file stand apart.
class StagedPieces : public StagedContent {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: makes a filesystem of its own";
    ASSERT_TRUE(disk_.Make(256 << 20));
    root_ = disk_.directory();
    StagedContent::SetUp();
  }
  void TearDown() override { store_.reset(); }

  test::Scratch disks_;
  test::LoopDisk disk_{disks_, "store", "btrfs", disks_.Directory("store")};
};

TEST_F(StagedPieces, CountInTheOrderInWhichTheyWereSent) {
  constexpr size_t kPiece = 256 << 10;
  SendName();
  Send({About(2 * kPiece, true)});
  const replica::Chunk old = client_->MakeChunk({Data(0, Bytes(2 * kPiece, 'a'), false)});
  Send({Data(0, Bytes(kPiece, 'b'), false)});
  EXPECT_TRUE(std::filesystem::exists(Staged())) << "it does not stand apart";
  ASSERT_EQ(client_->Ask(old).code, ReplyCode::kOk);
  Finish();
  EXPECT_TRUE(InTree() == Bytes(kPiece, 'b') + Bytes(kPiece, 'a'));
}

TEST_F(StagedPieces, ThatComeLateDoNotShowInAFileBegunAnew) {
  SendName();
  const replica::Chunk late = client_->MakeChunk({Data(kSize, Bytes(kSize, 'o'), false)});
  Send({About(3 * kSize, true), Data(0, Bytes(kSize, 'a'), true)});
  ASSERT_EQ(client_->Ask(late).code, ReplyCode::kOk);
  Finish();
  EXPECT_TRUE(InTree() == Bytes(kSize, 'a') + Bytes(2 * kSize, '\0'));
}

}  // namespace
}  // namespace tandem::replica
