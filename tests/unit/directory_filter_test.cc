// How the rules of directories are combined, and how their files are read.
#include "meta/filter/directory_filter.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/scratch.h"
#include "tests/unit/filter_texts.h"

namespace tandem::meta {
namespace {

using ::testing::HasSubstr;

TEST(DirectoryFilter, AsksTheDirectoryThenThoseAboveThenTheOptions) {
  const auto root = DirectoryFilter::Root(Filters({"- *.tmp", "- *.x"}), OfDirectory("- *.o"));
  const auto child = root.Child("a", OfDirectory("+ keep.o\n- *.c\n+ b.tmp"));
  const auto below = child.Child("plain").Child("b", OfDirectory("- keep.o\n+ main.c"));
  EXPECT_TRUE(root.Includes("main.c", false));
  EXPECT_FALSE(root.Includes("keep.o", false));
  EXPECT_FALSE(root.Includes("b.tmp", false));
  EXPECT_FALSE(child.Includes("main.c", false));
  EXPECT_TRUE(child.Includes("keep.o", false));
  EXPECT_TRUE(child.Includes("b.tmp", false));
  EXPECT_FALSE(below.Includes("keep.o", false));
  EXPECT_TRUE(below.Includes("main.c", false));
  EXPECT_FALSE(below.Includes("other.c", false));
  EXPECT_FALSE(below.Includes("b.x", false));
  EXPECT_TRUE(below.Includes(".tandemignore", false));
}

TEST(DirectoryFilter, AnchorsPatternsAtTheDirectoryOfTheirFile) {
  const auto root = DirectoryFilter::Root(Filters({}));
  const auto child = root.Child("a", OfDirectory("- /x\n- /b/y\n-/ /a/z\n-/ /w\n- a/v"));
  const auto below = child.Child("b");
  EXPECT_FALSE(child.Includes("x", false));
  EXPECT_FALSE(child.Includes("z", false));
  EXPECT_FALSE(child.Includes("v", false)) << "the path is matched from the root";
  EXPECT_TRUE(child.Includes("w", false));
  EXPECT_TRUE(below.Includes("x", false));
  EXPECT_FALSE(below.Includes("y", false));
  EXPECT_TRUE(root.Includes("x", false));
}

TEST(DirectoryFilter, TakesWildcardsInADirectorysNameForBytes) {
  const auto child = DirectoryFilter::Root(Filters({})).Child("a[1]*", OfDirectory("- /x*"));
  EXPECT_FALSE(child.Includes("xy", false));
  EXPECT_TRUE(child.Includes("y", false));
}

TEST(DirectoryFilter, ForgetsTheRulesAboveAtAnExclamationMark) {
  const auto root = DirectoryFilter::Root(Filters({"- *.tmp"}), OfDirectory("- *.o"));
  const auto below = root.Child("a", OfDirectory("- *.c\n!\n- *.h")).Child("b");
  EXPECT_TRUE(below.Includes("x.o", false));
  EXPECT_TRUE(below.Includes("x.c", false));
  EXPECT_FALSE(below.Includes("x.h", false));
  EXPECT_FALSE(below.Includes("x.tmp", false)) << "options are not forgotten";
}

TEST(DirectoryFilter, LetsOptionsComeBeforeTheDirectories) {
  const auto root = DirectoryFilter::Root(Filters({"+ x", "- y", ": .tandemignore", "- z"}),
                                          OfDirectory("- x\n+ y\n+ z"));
  EXPECT_TRUE(root.Includes("x", false));
  EXPECT_FALSE(root.Includes("y", false));
  EXPECT_TRUE(root.Includes("z", false));
  EXPECT_THAT(Complaint({RuleSyntax::kFilter, true, "f", ": .tandemignore\n: .tandemignore"}),
              HasSubstr("f:2: \": .tandemignore\" is given a second time"));
}

TEST(DirectoryFilter, OfATreeDeeperThanTheStackCanBeDestroyed) {
  DirectoryFilter filter = DirectoryFilter::Root(Filters({"- x"}));
  for (int i = 0; i < 200'000; ++i) filter = filter.Child("d");
  const DirectoryFilter other = filter.Child("e");
  EXPECT_FALSE(filter.Includes("x", false));
  filter = DirectoryFilter::Root(Filters({}));
  EXPECT_FALSE(other.Includes("x", false));
}

TEST(RulesFile, IsReadWhole) {
  const test::Scratch scratch;
  test::Write(scratch.Path("rules"), "- a\n");
  test::Write(scratch.Path("large"), std::string(kMostRulesFileBytes, '\n'));
  EXPECT_EQ(ReadRulesFile(AT_FDCWD, scratch.Path("rules")), "- a\n");
  EXPECT_EQ(ReadRulesFile(AT_FDCWD, scratch.Path("large"))->size(), kMostRulesFileBytes);
  const auto missing = ReadRulesFile(AT_FDCWD, scratch.Path("missing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ENOENT);
}

TEST(RulesFile, ThatIsTooLargeOrNoFileIsRefused) {
  const test::Scratch scratch;
  test::Write(scratch.Path("large"), std::string(kMostRulesFileBytes + 1, '\n'));
  ASSERT_EQ(mkfifo(scratch.Path("fifo").c_str(), 0600), 0);
  for (const std::string name : {"large", "fifo", "."}) {
    const auto content = ReadRulesFile(AT_FDCWD, scratch.Path(name));
    ASSERT_FALSE(content) << name;
    EXPECT_EQ(content.error().kind(), ErrorKind::kUsage) << name;
    EXPECT_THAT(content.error().ToString(), HasSubstr(scratch.Path(name)));
  }
}

TEST(RulesFile, OfADirectoryIsNotReadThroughASymbolicLink) {
  const test::Scratch scratch;
  test::Write(scratch.Path("secret"), "- a\n");
  ASSERT_EQ(symlink("secret", scratch.Path(".tandemignore").c_str()), 0);
  const UniqueFd directory(open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(ReadRulesFile(directory.get(), "secret"), "- a\n");
  const auto content = ReadRulesFile(directory.get(), std::string(kDirectoryRulesName));
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().code(), ELOOP);
  EXPECT_EQ(ReadRulesFile(AT_FDCWD, scratch.Path(".tandemignore")), "- a\n");
}

}  // namespace
}  // namespace tandem::meta
