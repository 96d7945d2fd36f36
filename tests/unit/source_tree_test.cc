// Objects are found again whatever they are called by now.
#include "meta/source/source_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "meta/source/directory_names.h"
#include "tests/scratch.h"

namespace tandem::meta {
namespace {

class SourceTreeTest : public testing::Test {
 protected:
  SourceTreeTest()
      : root_(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        tree_(std::move(SourceTree::Open(root_.get()).value())) {}

  std::string Path(const std::string& name) const { return scratch_.Path(name); }
  ObjectRef Make(const std::string& name, const std::string& content = "content") {
    std::ofstream(Path(name)) << content;
    return Find(name).value();
  }
  std::optional<ObjectRef> Find(const std::string& name) {
    const std::filesystem::path path(Path(name));
    const UniqueFd parent(open(path.parent_path().c_str(), O_PATH | O_CLOEXEC));
    return tree_.Lookup(parent.get(), path.filename().c_str()).value();
  }
  std::string Content(SourceObject& object) {
    std::string bytes(1 << 16, '\0');
    bytes.resize(object.Read(0, bytes).value());
    return bytes;
  }

  test::Scratch scratch_;
  UniqueFd root_;
  SourceTree tree_;
};

TEST(Identify, GivesTheSameIdByNameAndByDescriptor) {
  test::Scratch scratch;
  std::ofstream(scratch.Path("file")) << "x";
  const UniqueFd directory(open(scratch.path().c_str(), O_PATH));
  const UniqueFd file(open(scratch.Path("file").c_str(), O_PATH));
  const auto by_name = Identify(directory.get(), "file").value();
  const auto by_descriptor = Identify(file.get(), "").value();
  EXPECT_EQ(by_name.id, by_descriptor.id);
  EXPECT_EQ(by_name.handle, by_descriptor.handle);
  EXPECT_EQ(by_name.mount_id, by_descriptor.mount_id);
  EXPECT_FALSE(by_name.id.is_null());
  EXPECT_NE(by_name.id, kRootObject);
}

TEST(Identify, PlacesIdsByInodeOrHashesAll) {
  test::Scratch scratch;
  std::ofstream(scratch.Path("file")) << "x";
  struct stat file;
  ASSERT_EQ(stat(scratch.Path("file").c_str(), &file), 0);
  const UniqueFd directory(open(scratch.path().c_str(), O_PATH));
  const auto placed = Identify(directory.get(), "file", IdForm::kPlaced).value();
  const auto hashed = Identify(directory.get(), "file", IdForm::kHash).value();
  EXPECT_EQ(placed.handle, hashed.handle);
  EXPECT_EQ(placed.id.low(), hashed.id.low());
  EXPECT_EQ(static_cast<uint32_t>(placed.id.high()), static_cast<uint32_t>(hashed.id.high()));
  if (!placed.handle.empty()) {
    EXPECT_EQ(ObjectIdOf(placed.handle, IdForm::kPlaced), placed.id);
    EXPECT_EQ(ObjectIdOf(placed.handle, IdForm::kHash), hashed.id);
  }
  struct statfs filesystem;
  ASSERT_EQ(statfs(scratch.path().c_str(), &filesystem), 0);
  const auto type = static_cast<unsigned long>(filesystem.f_type);
  if (type != EXT4_SUPER_MAGIC && type != XFS_SUPER_MAGIC && type != BTRFS_SUPER_MAGIC) {
    GTEST_SKIP() << "the handles of this filesystem may tell no inode number";
  }
  ASSERT_EQ(CurrentIdForm(), IdForm::kPlaced);
  EXPECT_TRUE(IsPlacedAt(placed.id, file.st_ino));
  EXPECT_FALSE(IsPlacedAt(placed.id, file.st_ino + 1));
}

TEST(Identify, MeansTheSymlinkNotItsTarget) {
  test::Scratch scratch;
  std::ofstream(scratch.Path("file")) << "x";
  std::filesystem::create_symlink("file", scratch.Path("link"));
  const UniqueFd directory(open(scratch.path().c_str(), O_PATH));
  EXPECT_NE(Identify(directory.get(), "file")->id, Identify(directory.get(), "link")->id);
}

// On ext4 a number that is being used again answers ENOMEM for a moment.
TEST(OpenByHandle, WhatIsGoneIsGoneAlsoWhileItsInodeIsUsedAgain) {
  constexpr int kFiles = 64;
  constexpr int kRounds = 4000;
  test::Scratch scratch;
  const UniqueFd directory(open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY));
  const auto name_of = [](int i) { return "file" + std::to_string(i); };
  const auto create_all = [&] {
    for (int i = 0; i < kFiles; ++i) {
      UniqueFd(openat(directory.get(), name_of(i).c_str(), O_CREAT | O_WRONLY, 0600));
    }
  };
  const auto unlink_all = [&] {
    for (int i = 0; i < kFiles; ++i) unlinkat(directory.get(), name_of(i).c_str(), 0);
  };
  create_all();
  std::vector<FileHandle> gone;
  for (int i = 0; i < kFiles; ++i) {
    gone.push_back(Identify(directory.get(), name_of(i).c_str()).value().handle);
  }
  unlink_all();
  std::jthread creator([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      create_all();
      unlink_all();
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    for (const FileHandle& handle : gone) {
      const auto opened = OpenByHandle(directory.get(), handle, O_PATH);
      ASSERT_FALSE(opened);
      ASSERT_EQ(opened.error().code(), ESTALE) << opened.error().ToString();
    }
  }
}

TEST(Identify, SaysWhenThereIsNothing) {
  test::Scratch scratch;
  const UniqueFd directory(open(scratch.path().c_str(), O_PATH));
  const auto found = Identify(directory.get(), "absent");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), ENOENT);
}

TEST(Identify, GivesAnIdOnlyOnceHoweverOftenAnInodeIsUsedAgain) {
  test::Scratch scratch;
  const UniqueFd directory(open(scratch.path().c_str(), O_PATH));
  std::set<ObjectId> seen;
  for (int i = 0; i < 200; ++i) {
    std::ofstream(scratch.Path("file")) << "x";
    EXPECT_TRUE(seen.insert(Identify(directory.get(), "file")->id).second) << i;
    std::filesystem::remove(scratch.Path("file"));
  }
}

TEST_F(SourceTreeTest, TheRootHasItsFixedId) {
  EXPECT_EQ(tree_.root().id, kRootObject);
  EXPECT_TRUE(tree_.Open(tree_.root()).value().has_value());
}

TEST_F(SourceTreeTest, AnObjectIsFoundAgainAfterARename) {
  const ObjectRef file = Make("old", "bytes");
  std::filesystem::create_directory(Path("directory"));
  std::filesystem::rename(Path("old"), Path("directory/new"));
  auto opened = tree_.Open(file).value();
  ASSERT_TRUE(opened);
  EXPECT_EQ(Content(*opened), "bytes");
  EXPECT_EQ(Find("directory/new")->id, file.id);
}

TEST_F(SourceTreeTest, AnObjectThatIsGoneIsNothing) {
  const ObjectRef file = Make("file");
  std::filesystem::remove(Path("file"));
  EXPECT_FALSE(tree_.Open(file).value().has_value());
  EXPECT_FALSE(Find("file"));
}

TEST_F(SourceTreeTest, ListsEveryNameInByteOrder) {
  for (const char* name : {"b", "a", "\xff", "B", ".hidden"}) Make(name);
  std::filesystem::create_directory(Path("directory"));
  std::filesystem::create_symlink("nowhere", Path("link"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  const SourceObject root = *tree_.Open(tree_.root()).value();
  const auto entries = tree_.List(root, ReadNames(root.path_fd()).value()).value().entries;
  std::vector<std::string> names;
  for (const SourceEntry& entry : entries) names.push_back(entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{".hidden", "B", "a", "b", "directory", "fifo", "link",
                                             "\xff"}));
  for (const SourceEntry& entry : entries) EXPECT_EQ(Find(entry.name)->id, entry.object.id);
}

TEST_F(SourceTreeTest, ReadsUpToTheEndOfTheFile) {
  const ObjectRef file = Make("file", "0123456789");
  auto opened = tree_.Open(file).value();
  std::string buffer(4, '\0');
  EXPECT_EQ(opened->Read(3, buffer).value(), 4u);
  EXPECT_EQ(buffer, "3456");
  EXPECT_EQ(opened->Read(8, buffer).value(), 2u);
  EXPECT_EQ(opened->Read(100, buffer).value(), 0u);
}

TEST_F(SourceTreeTest, ReadsAFileWithoutReadPermission) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const ObjectRef file = Make("file", "secret");
  ASSERT_EQ(chmod(Path("file").c_str(), 0), 0);
  auto opened = tree_.Open(file).value();
  EXPECT_EQ(Content(*opened), "secret");
}

TEST_F(SourceTreeTest, SaysWhereDataIsAndWhereHolesAre) {
  Make("file", "");
  const int fd = open(Path("file").c_str(), O_RDWR);
  constexpr uint64_t kStep = 1 << 20;
  for (uint64_t i = 0; i < 5; ++i) {
    ASSERT_EQ(pwrite(fd, "data", 4, static_cast<off_t>(i * 2 * kStep)), 4);
  }
  ASSERT_EQ(ftruncate(fd, 20 * kStep), 0);
  close(fd);
  auto opened = tree_.Open(*Find("file")).value();
  const auto parts = opened->ReadLayout({0, 20 * kStep}, 100)->data;
  ASSERT_EQ(parts.size(), 5u);
  EXPECT_EQ(parts[1].start, 2 * kStep);
  const Layout limited = opened->ReadLayout({0, 20 * kStep}, 2).value();
  EXPECT_EQ(limited.data.size(), 2u);
  EXPECT_EQ(limited.end, limited.data.back().end);
  EXPECT_TRUE(opened->ReadLayout({10 * kStep, 20 * kStep}, 100)->data.empty());
  EXPECT_TRUE(opened->ReadLayout({30 * kStep, 40 * kStep}, 100)->data.empty());
  const auto clipped = opened->ReadLayout({1, 3}, 100)->data;
  ASSERT_EQ(clipped.size(), 1u);
  EXPECT_EQ(clipped[0], (ByteRange{1, 3}));
}

}  // namespace
}  // namespace tandem::meta
