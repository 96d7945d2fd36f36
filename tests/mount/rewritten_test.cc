// Files that are written anew, moved aside or copied: what travels is what is new in them, and the
// replica is the source whatever becomes of the content that it was to be taken from.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "meta/base/unique_fd.h"
#include "replica/known/chunk_index.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr size_t kRewrittenBytes = 8 << 20;
// Of a file of kRewrittenBytes: what is asked and answered, a few chunks that are not found, and
// what is sent before the first question.
constexpr uint64_t kFewOfThem = kRewrittenBytes / 4;

class Rewritten : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(StartBoth());
    Write(At("file"), content_);
    ASSERT_TRUE(IsKnown(1));
  }
  std::string At(const std::string& name) const { return mount_.path() + "/" + name; }
  std::string OnReplica(const std::string& name) const { return replica_.tree() + "/" + name; }
  // Waits until the replica has noted the chunks of so many files of kRewrittenBytes.
  ::testing::AssertionResult IsKnown(uint64_t files) {
    if (auto synced = mount_.Sync(); !synced) return synced;
    const auto noted = [&] {
      // A copy: the daemon is the only one to open its index.
      const std::string copy = scratch_.Directory("index." + std::to_string(++copies_));
      for (const char* part : {"chunks.db", "chunks.db-wal"}) {
        std::error_code ignored;
        std::filesystem::copy_file(replica_.store() + "/" + kVolume + "/" + part, copy + "/" + part,
                                   ignored);
      }
      const auto index = replica::ChunkIndex::Open(copy, uint64_t{1} << 40);
      const auto count = index ? (*index)->Count() : Result<uint64_t>(0);
      return count && *count >= files * kRewrittenBytes / (48 << 10);
    };
    if (WaitFor(noted)) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "the chunks are not noted";
  }
  // What `work` puts on the wire, both ways, until the replica has it.
  uint64_t BytesFor(const std::function<void()>& work) {
    const auto bytes = [&] {
      const Json status = mount_.ReplicaStatus();
      return status["sent_bytes"].get<uint64_t>() + status["received_bytes"].get<uint64_t>();
    };
    EXPECT_TRUE(mount_.Sync());
    const uint64_t before = bytes();
    work();
    EXPECT_TRUE(mount_.Sync());
    return bytes() - before;
  }
  // In pieces, so that cuts fall in between.
  void WriteSlowly(const std::string& path, const std::string& bytes) {
    const UniqueFd fd(open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644));
    constexpr size_t kPiece = 300'000;
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      const auto piece = std::string_view(bytes).substr(at, kPiece);
      ASSERT_EQ(write(fd.get(), piece.data(), piece.size()), ssize_t(piece.size()));
      if (at % (4 * kPiece) == 0) {
        ASSERT_TRUE(mount_.Sync());
      }
    }
  }
  std::string WithTenBytesMore(size_t at) const {
    std::string bytes = content_;
    bytes.insert(at, "ten bytes.");
    return bytes;
  }

  const std::string content_ = RandomBytes(kRewrittenBytes, 77);
  int copies_ = 0;
};

TEST_F(Rewritten, ANewFileRenamedOverTheOldOne) {
  EXPECT_LT(BytesFor([&] {
              WriteSlowly(At(".file.tmp"), WithTenBytesMore(kRewrittenBytes / 2));
              std::filesystem::rename(At(".file.tmp"), At("file"));
            }),
            kFewOfThem);
  EXPECT_TRUE(Converges());
}

TEST_F(Rewritten, AFileTruncatedAndWritten) {
  EXPECT_LT(BytesFor([&] { WriteSlowly(At("file"), WithTenBytesMore(kRewrittenBytes / 3)); }),
            kFewOfThem);
  EXPECT_TRUE(Converges());
}

// Records smaller than a chunk move within the file.
TEST_F(Rewritten, ADatabaseThatIsCompactedAndItsJournal) {
  constexpr size_t kRecord = 2500;
  std::string compacted;
  for (size_t at = 0; at < content_.size(); at += kRecord) {
    if (at / kRecord % 10 != 0) compacted += content_.substr(at, kRecord);
  }
  std::string journal;
  for (size_t at = 0; at < content_.size(); at += 4096) {
    journal += "page no " + content_.substr(at, 4096);
  }
  const uint64_t bytes = BytesFor([&] {
    Write(At("file-journal"), journal);
    ASSERT_TRUE(mount_.Sync());
    const UniqueFd fd(open(At("file").c_str(), O_WRONLY));
    ASSERT_EQ(pwrite(fd.get(), compacted.data(), compacted.size(), 0), ssize_t(compacted.size()));
  });
  EXPECT_LT(bytes, kRewrittenBytes) << "of twice as much";
  EXPECT_TRUE(Converges());
}

// As dpkg does: small files are written beside the old ones and renamed over them.
TEST_F(Rewritten, SmallFilesThatAreWrittenOnceMoreWithTheSameContent) {
  constexpr size_t kFiles = 100;
  constexpr size_t kBytes = 20'000;
  const auto name = [](size_t i) { return "small" + std::to_string(i); };
  const auto content = [](size_t i) {
    return RandomBytes(kBytes, static_cast<uint32_t>(1000 + i));
  };
  for (size_t i = 0; i < kFiles; ++i) Write(At(name(i)), content(i));
  const uint64_t bytes = BytesFor([&] {
    for (size_t i = 0; i < kFiles; ++i) Write(At(name(i) + ".dpkg-new"), content(i));
    for (size_t i = 0; i < kFiles; ++i) {
      std::filesystem::rename(At(name(i) + ".dpkg-new"), At(name(i)));
    }
    for (size_t i = 0; i < kFiles; ++i) Write(At(name(i)), content(i));
  });
  EXPECT_LT(bytes, kFiles * kBytes / 4) << "of twice as much";
  EXPECT_TRUE(Converges());
}

TEST_F(Rewritten, AFileRemovedAndMadeAgain) {
  EXPECT_LT(BytesFor([&] {
              std::filesystem::remove(At("file"));
              ASSERT_TRUE(mount_.Sync());
              WriteSlowly(At("file"), WithTenBytesMore(kRewrittenBytes / 3));
            }),
            kFewOfThem);
  EXPECT_TRUE(Converges());
}

TEST_F(Rewritten, AFileMovedAsideAndACopy) {
  EXPECT_LT(BytesFor([&] {
              std::filesystem::rename(At("file"), At("file~"));
              WriteSlowly(At("file"), WithTenBytesMore(5));
              std::filesystem::create_directory(At("elsewhere"));
              std::filesystem::copy_file(At("file"), At("elsewhere/copy"));
            }),
            2 * kFewOfThem);
  EXPECT_TRUE(Converges());
  const Json content = mount_.ReplicaStatus()["content"];
  EXPECT_GE(content["plain"], kRewrittenBytes);
  EXPECT_GE(content["copied"].get<uint64_t>() + content["delta"].get<uint64_t>(),
            2 * kRewrittenBytes * 9 / 10);
  const std::string text = mount_.Tandem("status").out;
  EXPECT_THAT(text, ::testing::HasSubstr("as copies of what is there"));
}

// Hard links stay links, and a mode, an owner and attributes stay what they were.
TEST_F(Rewritten, ATruncatedFileIsTheSameObject) {
  std::filesystem::create_hard_link(At("file"), At("link"));
  Write(At("alone"), RandomBytes(200'000));
  ASSERT_EQ(chmod(At("alone").c_str(), 0640), 0);
  ASSERT_EQ(setxattr(At("alone").c_str(), "user.kept", "value", 5, 0), 0);
  ASSERT_TRUE(mount_.Sync());
  for (const char* name : {"file", "alone"}) {
    ASSERT_EQ(truncate(At(name).c_str(), 0), 0);
    ASSERT_TRUE(mount_.Sync());
    std::ofstream(At(name), std::ios::app) << "short";
  }
  EXPECT_TRUE(Converges());
  struct stat file;
  ASSERT_EQ(stat(OnReplica("link").c_str(), &file), 0);
  EXPECT_EQ(file.st_nlink, 2u);
  EXPECT_EQ(mount_.Verify().code, 0);
}

// It is said nowhere and costs only bytes.
TEST_F(Rewritten, ABasisThatSomebodyHasDamaged) {
  {
    const UniqueFd fd(open(OnReplica("file").c_str(), O_WRONLY));
    const std::string rot = RandomBytes(kRewrittenBytes / 2, 5);
    ASSERT_EQ(pwrite(fd.get(), rot.data(), rot.size(), kRewrittenBytes / 4), ssize_t(rot.size()));
  }
  WriteSlowly(At("copy"), content_);
  std::filesystem::remove(At("file"));
  EXPECT_TRUE(Converges());
}

TEST_F(Rewritten, WithTheReplicaKilledNowAndThen) {
  for (int round = 0; round < 4; ++round) {
    const std::string bytes = WithTenBytesMore(static_cast<size_t>(round) * 1'000'000);
    const UniqueFd fd(open(At("file").c_str(), O_TRUNC | O_WRONLY));
    for (size_t at = 0; at < bytes.size(); at += 1 << 20) {
      const auto piece = std::string_view(bytes).substr(at, 1 << 20);
      ASSERT_EQ(write(fd.get(), piece.data(), piece.size()), ssize_t(piece.size()));
      if (at == (2u << 20)) {
        replica_.Kill();
        ASSERT_TRUE(replica_.Start());
      }
    }
    std::filesystem::copy_file(At("file"), At("copy" + std::to_string(round)));
  }
  EXPECT_TRUE(Converges());
}

TEST_F(Rewritten, NothingIsKeptIfThatIsWished) {
  ASSERT_TRUE(replica_.Stop());
  replica_.more() = {"--keep-bases", "0"};
  ASSERT_TRUE(replica_.Start());
  EXPECT_GT(BytesFor([&] {
              std::filesystem::remove(At("file"));
              ASSERT_TRUE(mount_.Sync());
              Write(At("file"), content_);
            }),
            kRewrittenBytes / 2);
  EXPECT_TRUE(std::filesystem::is_empty(replica_.store() + "/" + kVolume + "/stage/kept"));
  EXPECT_TRUE(Converges());
}

// Edits, rewrites, renames, removals and copies in any order, looked at after each few.
TEST_F(Rewritten, AnythingInAnyOrder) {
  std::mt19937_64 random(FreshSeed());
  const auto below = [&](uint64_t limit) { return random() % limit; };
  std::vector<std::string> names = {"file"};
  const auto any = [&] { return names[below(names.size())]; };
  const auto fresh = [&] { return "file" + std::to_string(below(6)); };
  for (int step = 0; step < Times(60, 600); ++step) {
    const std::string from = At(any());
    const std::string to = At(fresh());
    if (!std::filesystem::exists(from))
      Write(from, content_.substr(below(kRewrittenBytes), 1 << 20));
    std::string bytes = Read(from);
    if (bytes.size() > 1000) bytes.replace(below(bytes.size() - 1000), below(1000), "edited");
    if (bytes.size() > kRewrittenBytes) bytes.resize(kRewrittenBytes / 2);
    switch (below(7)) {
      case 0:
        Write(from, bytes);
        break;
      case 1:
        Write(from + ".tmp", bytes);
        std::filesystem::rename(from + ".tmp", to);
        break;
      case 2:
        Write(to, Read(from));
        break;
      case 3:
        std::filesystem::rename(from, to);
        break;
      case 4:
        std::filesystem::resize_file(from, below(bytes.size() + 100'000));
        break;
      case 5:
        std::filesystem::remove(from);
        break;
      default:
        std::ofstream(from, std::ios::app) << bytes.substr(below(bytes.size() + 1));
    }
    names.push_back(std::filesystem::path(to).filename());
    if (below(3) == 0) {
      ASSERT_TRUE(mount_.Sync());
    }
    if (step % 20 == 19) {
      ASSERT_TRUE(Converges());
    }
  }
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

}  // namespace
}  // namespace tandem::test
