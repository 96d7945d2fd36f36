// The mount without the optimizations that can be switched off (fs/optimizations.h).
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <set>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

std::set<std::string> NamesIn(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(directory.c_str()), closedir);
  std::set<std::string> names;
  while (const dirent* entry = list == nullptr ? nullptr : readdir(list.get())) {
    names.insert(entry->d_name);
  }
  return names;
}

class Optimizations : public MountTest {
 protected:
  // Creates, looks up, lists, changes in the order of the listing, renames and reads back.
  void WorkOnATree() {
    const std::string top = mount_.path() + "/top";
    ASSERT_EQ(0, mkdir(top.c_str(), 0755));
    for (int d = 0; d < 3; ++d) {
      const std::string directory = top + "/directory" + std::to_string(d);
      ASSERT_EQ(0, mkdir(directory.c_str(), 0755));
      std::set<std::string> expected = {".", ".."};
      for (int f = 0; f < 40; ++f) {
        const std::string name = "file" + std::to_string(f);
        Write(directory + "/" + name, RandomBytes(5000, static_cast<uint64_t>(f) + 1));
        EXPECT_EQ(Lstat(directory + "/" + name).st_size, 5000);
        expected.insert(name);
      }
      EXPECT_EQ(NamesIn(directory), expected);
      for (const std::string& name : NamesIn(directory)) {
        if (name.starts_with('.')) continue;
        EXPECT_EQ(0, chmod((directory + "/" + name).c_str(), 0640));
      }
      const std::string last = directory + "/file39";
      ASSERT_EQ(0, rename(last.c_str(), (directory + "/renamed").c_str()));
      EXPECT_NE(0, access(last.c_str(), F_OK));
      EXPECT_EQ(Read(directory + "/renamed"), RandomBytes(5000, 40));
      EXPECT_EQ(Lstat(directory + "/renamed").st_mode & 07777, 0640u);
      expected.erase("file39");
      expected.insert("renamed");
      EXPECT_EQ(NamesIn(directory), expected);
    }
    EXPECT_TRUE(SameTrees(mount_.path(), source_));
  }
};

TEST_F(Optimizations, WithoutAnyATreeIsServedAsWithThem) {
  // Requests that come over io_uring ask no reader policy.
  mount_.options().more = {"--disable", "walk-order,known-names,reader-policy,reader-spin", "-o",
                           "io_uring=off"};
  ASSERT_TRUE(StartBoth());
  WorkOnATree();
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(mount_.Unmount());
}

TEST_F(Optimizations, AnUnknownWordEndsTheStart) {
  mount_.options().more = {"--disable", "everything"};
  const Outcome outcome = Execute(mount_.Command());
  EXPECT_EQ(outcome.code, 2) << outcome;
  EXPECT_NE(outcome.err.find("known-names, reader-policy, reader-spin and walk-order"),
            std::string::npos)
      << outcome;
}

}  // namespace
}  // namespace tandem::test
