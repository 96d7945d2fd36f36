// What is read ahead of a walk is what the walk would read.
#include "replica/source/read_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "meta/source/directory_names.h"
#include "replica/source/tuning.h"
#include "tests/files.h"
#include "tests/scratch.h"

namespace tandem::replica {
namespace {

namespace stdfs = std::filesystem;

class ReadAheadTest : public testing::Test {
 protected:
  void SetUp() override {
    root_.Reset(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(root_.valid());
    tree_.emplace(meta::SourceTree::Open(root_.get()).value());
    if (tree_->by_names() != nullptr) GTEST_SKIP() << "needs file handles that can be opened";
  }
  std::string Path(const std::string& name) const { return scratch_.path() + "/" + name; }
  std::vector<ReadAhead::Wanted> List(bool all = true) const {
    const auto directory = tree_->Open(tree_->root()).value();
    std::vector<ReadAhead::Wanted> wanted;
    const meta::SourceListing listing =
        tree_->List(*directory, meta::ReadNames(directory->path_fd()).value()).value();
    for (const meta::SourceEntry& entry : listing.entries) {
      wanted.push_back({entry.object, all});
    }
    return wanted;
  }
  static std::string ContentOf(meta::ObjectReader& object) {
    const auto attributes = object.ReadAttributes(meta::WithXattrs::kYes).value();
    std::string content(attributes.size, '\0');
    const auto layout = object.ReadLayout({0, attributes.size}, 100).value();
    EXPECT_EQ(layout.end, attributes.size);
    for (const ByteRange& part : layout.data) {
      const std::span<char> place(content.data() + part.start, part.length());
      EXPECT_EQ(object.Read(part.start, place).value(), part.length());
    }
    return content;
  }
  static void ExpectSame(const meta::Attributes& a, const meta::Attributes& b) {
    EXPECT_EQ(a.kind, b.kind);
    EXPECT_EQ(a.permissions, b.permissions);
    EXPECT_EQ(a.size, b.size);
    EXPECT_EQ(a.modify_time, b.modify_time);
    EXPECT_EQ(a.change_time, b.change_time);
    EXPECT_EQ(a.link_target, b.link_target);
    EXPECT_EQ(a.xattrs, b.xattrs);
  }
  void ExpectSame(const meta::ObjectRef& object, meta::ObjectReader& read) {
    auto opened = tree_->Open(object).value();
    ASSERT_TRUE(opened);
    const auto attributes = opened->ReadAttributes(meta::WithXattrs::kYes).value();
    ExpectSame(read.ReadAttributes(meta::WithXattrs::kYes).value(), attributes);
    if (attributes.kind != meta::Kind::kFile) return;
    EXPECT_EQ(ContentOf(read), ContentOf(*opened));
  }

  test::Scratch scratch_;
  UniqueFd root_;
  std::optional<meta::SourceTree> tree_;
};

TEST_F(ReadAheadTest, EveryObjectIsWhatItIs) {
  for (int i = 0; i < 1000; ++i) {
    test::Write(Path(std::to_string(i)), std::string(static_cast<size_t>(i), 'x'));
  }
  test::Write(Path("large"), std::string(kReadAheadBytes + 1, 'y'));
  test::Write(Path("sparse"), "begin");
  ASSERT_EQ(truncate(Path("sparse").c_str(), 30'000), 0);
  stdfs::create_directory(Path("directory"));
  stdfs::create_symlink("target", Path("link"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  const auto wanted = List();
  ASSERT_EQ(wanted.size(), 1005u);
  ReadAhead ahead(*tree_);
  for (int round = 0; round < 3; ++round) {
    ahead.Begin(wanted);
    for (const auto& [object, all] : wanted) {
      const auto read = ahead.Take(object);
      ASSERT_TRUE(read && *read != nullptr);
      ExpectSame(object, **read);
    }
  }
}

TEST_F(ReadAheadTest, SomeAreLeftOutAndOthersAskedForThatAreNotWanted) {
  for (int i = 0; i < 500; ++i) test::Write(Path(std::to_string(i)), std::to_string(i));
  const auto all = List();
  std::vector<ReadAhead::Wanted> wanted;
  for (size_t i = 0; i < all.size(); i += 2) wanted.push_back(all[i]);
  ReadAhead ahead(*tree_);
  ahead.Begin(wanted);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % 6 == 0) continue;  // wanted, and not taken
    const auto read = ahead.Take(all[i].object);
    ASSERT_TRUE(read && *read != nullptr);
    ExpectSame(all[i].object, **read);
  }
  ahead.Begin(wanted);  // and dropped in the middle of it
  ahead.Begin(all);
  const auto read = ahead.Take(all.back().object);
  ASSERT_TRUE(read && *read != nullptr);
  ExpectSame(all.back().object, **read);
}

TEST_F(ReadAheadTest, WhatIsRemovedIsGoneAndKeepsNoSpace) {
  for (int i = 0; i < 20; ++i) {
    test::Write(Path("large" + std::to_string(100 + i)), std::string(kReadAheadBytes + 1, 'y'));
  }
  const auto wanted = List();
  ReadAhead ahead(*tree_);
  ahead.Begin(wanted);
  ASSERT_TRUE(ahead.Take(wanted[0].object).value() != nullptr);
  for (const auto& file : stdfs::directory_iterator(scratch_.path())) stdfs::remove(file);
  // The threads may have begun with some of the others; these are opened here all the same.
  for (size_t i = 1; i < wanted.size(); ++i) {
    const auto read = ahead.Take(wanted[i].object);
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, nullptr);
  }
}

TEST_F(ReadAheadTest, AttributesAlone) {
  for (int i = 0; i < 100; ++i) test::Write(Path(std::to_string(i)), std::to_string(i));
  const auto wanted = List(/*all=*/false);
  ReadAhead ahead(*tree_);
  ahead.Begin(wanted);
  for (const auto& [object, all] : wanted) {
    const auto read = ahead.Take(object);
    ASSERT_TRUE(read && *read != nullptr);
    auto opened = tree_->Open(object).value();
    ExpectSame((*read)->ReadAttributes(meta::WithXattrs::kNo).value(),
               opened->ReadAttributes(meta::WithXattrs::kNo).value());
  }
}

}  // namespace
}  // namespace tandem::replica
