// Objects are found by their names: the known ones, then by one search.
#include "meta/source/name_resolver.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "meta/change/file_handle.h"
#include "tests/scratch.h"

namespace tandem::meta {
namespace {

namespace stdfs = std::filesystem;
using OtherNames = Whereabouts::OtherNames;

class NameResolverTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return scratch_.Path(name); }
  ObjectId Make(const std::string& name) const {
    std::ofstream(Path(name)) << name;
    return IdOf(name);
  }
  ObjectId MakeDirectory(const std::string& name) const {
    stdfs::create_directory(Path(name));
    return IdOf(name);
  }
  ObjectId IdOf(const std::string& name) const {
    return Identify(AT_FDCWD, Path(name).c_str()).value().id;
  }
  // What is found has this inode.
  testing::AssertionResult Finds(const ObjectId& object, const std::string& name,
                                 Effort effort = Effort::kSearch) {
    const auto fd = resolver_.Open(object, effort);
    if (!fd) return testing::AssertionFailure() << fd.error().ToString();
    if (!*fd) return testing::AssertionFailure() << "gone";
    struct stat found, wanted;
    if (fstat((*fd)->get(), &found) != 0 || lstat(Path(name).c_str(), &wanted) != 0) {
      return testing::AssertionFailure() << "stat";
    }
    if (found.st_ino != wanted.st_ino) return testing::AssertionFailure() << "another";
    return testing::AssertionSuccess();
  }
  bool IsGone(const ObjectId& object) {
    const auto fd = resolver_.Open(object, Effort::kSearch);
    EXPECT_TRUE(fd) << fd.error().ToString();
    return fd && !*fd;
  }
  Whereabouts& whereabouts() { return resolver_.whereabouts(); }

  test::Scratch scratch_;
  const UniqueFd root_{open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  NameResolver resolver_{root_.get(), Identify(root_.get(), "").value().mount_id};
};

TEST_F(NameResolverTest, AKnownNameNeedsNoSearch) {
  const ObjectId directory = MakeDirectory("d"), file = Make("d/f");
  whereabouts().Note(directory, kRootObject, "d");
  whereabouts().Note(file, directory, "f");
  EXPECT_TRUE(Finds(file, "d/f", Effort::kAtOnce));
  // With all that is above renamed.
  stdfs::rename(Path("d"), Path("e"));
  whereabouts().NoteNameAdded(directory, kRootObject, "e");
  EXPECT_TRUE(Finds(file, "e/f", Effort::kAtOnce));
  EXPECT_EQ(resolver_.searches(), 0u);
}

TEST_F(NameResolverTest, WhatIsUnknownIsAnErrorAtOnceAndOtherwiseSearchedForOnce) {
  const ObjectId directory = MakeDirectory("d"), file = Make("d/f"), other = Make("d/g");
  const auto unknown = resolver_.Open(file, Effort::kAtOnce);
  ASSERT_FALSE(unknown);
  EXPECT_TRUE(IsNameUnknown(unknown.error()));
  EXPECT_TRUE(Finds(file, "d/f"));
  EXPECT_TRUE(Finds(other, "d/g", Effort::kAtOnce));
  EXPECT_TRUE(Finds(directory, "d", Effort::kAtOnce));
  EXPECT_EQ(resolver_.searches(), 1u);
}

TEST_F(NameResolverTest, ManyThatAreGoneCostOneSearch) {
  std::vector<ObjectId> gone;
  for (int i = 0; i < 20; ++i) {
    gone.push_back(Make("f" + std::to_string(i)));
  }
  for (int i = 0; i < 20; ++i) stdfs::remove(Path("f" + std::to_string(i)));
  for (const ObjectId& object : gone) EXPECT_TRUE(IsGone(object));
  EXPECT_EQ(resolver_.searches(), 1u) << "all of the tree is known after it";
}

TEST_F(NameResolverTest, ManyInATreeTooLargeToRememberCostOneSearchTogether) {
  NameResolver small(root_.get(), Identify(root_.get(), "").value().mount_id, 256);
  std::vector<ObjectId> objects;
  for (int i = 0; i < 2000; ++i) {
    const ObjectId object = Make("f" + std::to_string(i));
    if (i % 20 == 0) objects.push_back(object);
  }
  ASSERT_TRUE(small.Locate(objects));
  size_t found = 0;
  for (const ObjectId& object : objects) {
    const auto fd = small.Open(object, Effort::kAtOnce);
    if (fd && *fd) ++found;
  }
  EXPECT_EQ(found, objects.size());
  EXPECT_EQ(small.searches(), 1u);
}

TEST_F(NameResolverTest, ANameThatLeadsToAnotherObjectIsNotBelieved) {
  const ObjectId file = Make("f");
  whereabouts().Note(file, kRootObject, "f");
  stdfs::rename(Path("f"), Path("elsewhere"));
  const ObjectId other = Make("f");
  EXPECT_TRUE(Finds(file, "elsewhere"));
  EXPECT_TRUE(Finds(other, "f"));
}

TEST_F(NameResolverTest, OneOfSeveralNamesIsEnough) {
  const ObjectId file = Make("a");
  stdfs::create_hard_link(Path("a"), Path("b"));
  whereabouts().Note(file, kRootObject, "b");
  whereabouts().Note(file, kRootObject, "a");
  stdfs::remove(Path("a"));
  EXPECT_TRUE(Finds(file, "b", Effort::kAtOnce));
  whereabouts().NoteNameRemoved(file, kRootObject, "a", OtherNames::kMaybe);
  stdfs::remove(Path("b"));
  whereabouts().NoteNameRemoved(file, kRootObject, "b", OtherNames::kNone);
  EXPECT_TRUE(IsGone(file));
  EXPECT_EQ(resolver_.searches(), 0u);
  EXPECT_FALSE(resolver_.TakeLostName(file)) << "an operation took it";
}

TEST_F(NameResolverTest, TheNameOfWhatVanishedWithoutAnOperationIsToldOnce) {
  const ObjectId file = Make("f");
  whereabouts().Note(file, kRootObject, "f");
  EXPECT_FALSE(resolver_.TakeLostName(file));
  stdfs::rename(Path("f"), Path("g"));
  stdfs::remove(Path("g"));
  EXPECT_TRUE(IsGone(file));
  EXPECT_EQ(resolver_.TakeLostName(file), (EntryKey{kRootObject, "f"}));
  EXPECT_FALSE(resolver_.TakeLostName(file));
}

// The operation has renamed it, and has yet to record that.
TEST_F(NameResolverTest, AnOperationUnderWayIsWaitedForBeforeASearch) {
  const ObjectId file = Make("f");
  whereabouts().Note(file, kRootObject, "f");
  stdfs::rename(Path("f"), Path("g"));
  resolver_.SetSettle([&]() -> Status {
    whereabouts().NoteNameAdded(file, kRootObject, "g");
    return {};
  });
  EXPECT_TRUE(Finds(file, "g"));
  EXPECT_EQ(resolver_.searches(), 0u);
}

// From where the search has yet to go to where it has been: whatever is listed first, one of the
// two directories is left when the search waits for the operations that ran beside it.
TEST_F(NameResolverTest, WhatMovesDuringASearchIsFound) {
  for (const bool back : {false, true}) {
    const std::string from = back ? "z" : "a", to = back ? "a" : "z";
    for (const std::string& name : {from, to}) MakeDirectory(name);
    const ObjectId moved = MakeDirectory(from + "/moved"), file = Make(from + "/moved/file");
    NameResolver resolver(root_.get(), Identify(root_.get(), "").value().mount_id);
    int settled = 0;
    resolver.SetSettle([&]() -> Status {
      // As if it had been moved before the search came to it, out of its way: it is put out of
      // reach meanwhile.
      if (++settled == 1) stdfs::rename(Path(from + "/moved"), scratch_.path() + ".moved");
      if (settled == 2) {
        stdfs::rename(scratch_.path() + ".moved", Path(to + "/moved"));
        resolver.whereabouts().NoteNameAdded(moved, IdOf(to), "moved");
      }
      return {};
    });
    const auto fd = resolver.Open(file, Effort::kSearch);
    ASSERT_TRUE(fd) << fd.error().ToString();
    EXPECT_TRUE(fd->has_value()) << settled;
    stdfs::remove_all(Path(from));
    stdfs::remove_all(Path(to));
  }
}

TEST_F(NameResolverTest, PathsLongerThanTheKernelTakesAtOnceAreOpened) {
  constexpr int kLevels = 40;
  const std::string name(200, 'n');
  ObjectId above = kRootObject;
  UniqueFd directory(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < kLevels; ++i) {
    ASSERT_EQ(mkdirat(directory.get(), name.c_str(), 0755), 0);
    directory.Reset(openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const ObjectId id = Identify(directory.get(), "").value().id;
    whereabouts().Note(id, above, name);
    above = id;
  }
  const auto fd = resolver_.Open(above, Effort::kAtOnce);
  ASSERT_TRUE(fd) << fd.error().ToString();
  EXPECT_TRUE(fd->has_value());
}

TEST_F(NameResolverTest, ALinkInThePlaceOfADirectoryIsNotFollowed) {
  const ObjectId directory = MakeDirectory("d"), file = Make("d/f");
  whereabouts().Note(directory, kRootObject, "d");
  whereabouts().Note(file, directory, "f");
  stdfs::rename(Path("d"), Path("e"));
  stdfs::create_directory_symlink("e", Path("d"));
  const auto fd = resolver_.Open(file, Effort::kAtOnce);
  EXPECT_TRUE(!fd && IsNameUnknown(fd.error()));
  EXPECT_TRUE(Finds(file, "e/f"));
}

TEST_F(NameResolverTest, NamesThatLeadRoundInACircleEnd) {
  const ObjectId a{5, 1}, b{5, 2};
  whereabouts().Note(a, b, "a");
  whereabouts().Note(b, a, "b");
  EXPECT_TRUE(IsGone(a));
}

}  // namespace
}  // namespace tandem::meta
