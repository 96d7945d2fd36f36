#include "fs/objects/listings.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <string>

#include "fs/objects/tuning.h"
#include "tests/scratch.h"

namespace tandem::fs {
namespace {

class ListingsTest : public testing::Test {
 protected:
  ListingsTest() {
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(0, mknod((scratch_.path() + "/f" + std::to_string(i)).c_str(), S_IFREG | 0600, 0));
    }
  }
  static std::unique_ptr<OpenDirectory> Open(const std::string& path) {
    return std::make_unique<OpenDirectory>(
        UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  }
  // Reads so many entries after `offset`; returns their names.
  static std::set<std::string> Read(OpenDirectory& stream, off_t offset, size_t count) {
    std::set<std::string> names;
    EXPECT_TRUE(stream.Visit(offset, [&](const dirent64& entry) {
      if (names.size() == count) return false;
      return names.insert(entry.d_name).second;
    }));
    return names;
  }

  const test::Scratch scratch_;
  Listings listings_;
};

TEST_F(ListingsTest, AStreamGoesOnWhereItIs) {
  std::set<std::string> names;
  off_t position = 0;
  const OpenDirectory* first = nullptr;
  {
    auto use = listings_.Add(1, Open(scratch_.path()), true);
    first = &use.stream();
    names = Read(use.stream(), 0, 5);
    position = use.stream().position();
    EXPECT_FALSE(listings_.Find(1, position)) << "it is in use";
    use.Keep();
  }
  EXPECT_FALSE(listings_.Find(2, position)) << "another directory";
  EXPECT_FALSE(listings_.Find(1, position + 1)) << "another place";
  {
    auto use = listings_.Find(1, position);
    ASSERT_TRUE(use);
    EXPECT_EQ(&use->stream(), first);
    names.merge(Read(use->stream(), position, 100));
    EXPECT_EQ(names.size(), 12u);
    EXPECT_TRUE(use->stream().at_end());
  }
  EXPECT_FALSE(listings_.Find(1, position)) << "nobody has said that it is to be kept";
}

TEST_F(ListingsTest, AnotherStreamShowsTheSame) {
  const auto stream = Open(scratch_.path());
  auto names = Read(*stream, 0, 5);
  const auto another = Open(scratch_.path());
  for (const std::string& name : Read(*another, stream->position(), 100)) {
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(names.size(), 12u);
}

TEST_F(ListingsTest, AListingThatBeginsOutdatesTheOnesBefore) {
  auto in_use = std::make_optional(listings_.Add(1, Open(scratch_.path()), true));
  { listings_.Add(1, Open(scratch_.path()), false).Keep(); }
  { listings_.Add(2, Open(scratch_.path()), false).Keep(); }
  { listings_.Add(1, Open(scratch_.path()), true); }
  EXPECT_FALSE(listings_.Find(1, 0));
  EXPECT_TRUE(listings_.Find(2, 0));
  in_use->Keep();
  in_use.reset();
  EXPECT_FALSE(listings_.Find(1, 0)) << "it was begun before";
}

TEST_F(ListingsTest, TheOldestGoes) {
  for (size_t i = 0; i <= kMaxListings; ++i) {
    listings_.Add(i + 1, Open(scratch_.path()), true).Keep();
  }
  EXPECT_FALSE(listings_.Find(1, 0));
  for (size_t i = 1; i <= kMaxListings; ++i) EXPECT_TRUE(listings_.Find(i + 1, 0)) << i;
}

TEST_F(ListingsTest, RemovedDirectoriesAreClosed) {
  listings_.Add(1, Open(scratch_.path()), true).Keep();
  listings_.Add(2, Open(scratch_.path()), true).Keep();
  auto in_use = std::make_optional(listings_.Add(1, Open(scratch_.path()), false));
  listings_.Close(1);
  in_use->Keep();
  in_use.reset();
  EXPECT_FALSE(listings_.Find(1, 0));
  EXPECT_TRUE(listings_.Find(2, 0));
}

}  // namespace
}  // namespace tandem::fs
