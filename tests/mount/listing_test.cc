// Large directories, listed while they change: what is there all the time comes exactly once.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fs/objects/tuning.h"
#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

Directory OpenList(const std::string& path) { return {opendir(path.c_str()), closedir}; }

class Listing : public Conformance {
 protected:
  // Empty files "stays0", "stays1", ...; made beneath, which takes less time.
  void MakeFiles(const std::string& directory, int count) {
    ASSERT_EQ(0, mkdir((source_ + "/" + directory).c_str(), 0755));
    const UniqueFd fd(open((source_ + "/" + directory).c_str(), O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(0, mknodat(fd.get(), ("stays" + std::to_string(i)).c_str(), S_IFREG | 0644, 0));
    }
  }
};

// How often each of the files that stay comes, checked against once; names that come twice.
void ExpectEachOnce(const std::string& directory, int count) {
  const Directory list = OpenList(directory);
  ASSERT_NE(list, nullptr);
  std::vector<int> seen(static_cast<size_t>(count));
  int others = 0;
  errno = 0;
  while (const dirent* entry = readdir(list.get())) {
    const std::string name = entry->d_name;
    if (name.starts_with("stays")) {
      ++seen[static_cast<size_t>(std::stoi(name.substr(5)))];
    } else {
      ++others;
    }
  }
  EXPECT_EQ(errno, 0);
  int missed = 0;
  int repeated = 0;
  for (const int times : seen) {
    missed += times == 0;
    repeated += times > 1;
  }
  EXPECT_EQ(missed, 0);
  EXPECT_EQ(repeated, 0);
  EXPECT_GE(others, 2);  // "." and ".."
}

TEST_F(Listing, ALargeDirectoryThatChangesMeanwhile) {
  constexpr int kFiles = 200'000;
  ASSERT_NO_FATAL_FAILURE(MakeFiles("large", kFiles));
  const std::string directory = OnMount("large");
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    for (int i = 0; !stop; ++i) {
      const std::string name = directory + "/comes" + std::to_string(i);
      const UniqueFd fd(open(name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
      if (i % 3 == 0) rename(name.c_str(), (directory + "/goes" + std::to_string(i)).c_str());
      if (i % 3 == 1) unlink(name.c_str());
    }
  });
  ExpectEachOnce(directory, kFiles);
  stop = true;
  changer.join();
  ExpectEachOnce(directory, kFiles);
}

TEST_F(Listing, ADirectoryThatIsEmptiedWhileItIsListed) {
  constexpr int kFiles = 20'000;
  ASSERT_NO_FATAL_FAILURE(MakeFiles("emptied", kFiles));
  const std::string directory = OnMount("emptied");
  const Directory list = OpenList(directory);
  int removed = 0;
  while (const dirent* entry = readdir(list.get())) {
    if (entry->d_name[0] == '.') continue;
    EXPECT_EQ(0, unlinkat(dirfd(list.get()), entry->d_name, 0)) << entry->d_name;
    ++removed;
  }
  EXPECT_EQ(removed, kFiles);
  EXPECT_EQ(0, rmdir(directory.c_str())) << strerror(errno);
}

// Each takes its turn, so that none has a stream of its own kept.
TEST_F(Listing, MoreListingsAtOnceThanAreKept) {
  constexpr int kFiles = 3000;
  constexpr size_t kListings = 3 * fs::kMaxListings;
  ASSERT_NO_FATAL_FAILURE(MakeFiles("many", kFiles));
  std::vector<Directory> lists;
  std::vector<std::set<std::string>> seen(kListings);
  for (size_t i = 0; i < kListings; ++i) lists.push_back(OpenList(OnMount("many")));
  // One is read through the kernel's cache of names, which a change drops: then all ask.
  for (bool more = true; more;) {
    more = false;
    ASSERT_EQ(0, mknod(OnMount("many/x").c_str(), S_IFREG | 0644, 0));
    ASSERT_EQ(0, unlink(OnMount("many/x").c_str()));
    for (size_t i = 0; i < kListings; ++i) {
      for (int entries = 0; entries < 700; ++entries) {
        const dirent* entry = readdir(lists[i].get());
        if (entry == nullptr) break;
        more = true;
        const std::string name = entry->d_name;
        if (name == "x") continue;
        EXPECT_TRUE(seen[i].insert(name).second) << name << " comes twice";
      }
    }
  }
  for (const auto& names : seen) EXPECT_EQ(names.size(), static_cast<size_t>(kFiles) + 2);
}

// A listing that was broken off must not serve one that begins later.
TEST_F(Listing, WhatChangedBeforeItBeganIsInAListing) {
  constexpr int kFiles = 2000;
  ASSERT_NO_FATAL_FAILURE(MakeFiles("changed", kFiles));
  const std::string directory = OnMount("changed");
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < kFiles; ++i) expected.insert("stays" + std::to_string(i));
  for (int round = 0; round < 20; ++round) {
    {
      const Directory broken_off = OpenList(directory);
      for (int i = 0; i < 1 + 50 * round; ++i) ASSERT_NE(readdir(broken_off.get()), nullptr);
    }
    for (int i = round; i < kFiles; i += 20) {
      const std::string name = "stays" + std::to_string(i);
      ASSERT_EQ(0, unlink((directory + "/" + name).c_str()));
      ASSERT_EQ(0, mknod((directory + "/new" + name).c_str(), S_IFREG | 0644, 0));
      expected.erase(name);
      expected.insert("new" + name);
    }
    std::set<std::string> seen;
    const Directory list = OpenList(directory);
    while (const dirent* entry = readdir(list.get())) seen.insert(entry->d_name);
    ASSERT_EQ(seen, expected) << round;
  }
}

TEST_F(Listing, ADirectoryThatIsRemovedWhileItIsOpen) {
  ASSERT_NO_FATAL_FAILURE(MakeFiles("removed", 3));
  const std::string directory = OnMount("removed");
  const Directory list = OpenList(directory);
  ASSERT_NE(readdir(list.get()), nullptr);
  for (int i = 0; i < 3; ++i) unlink((directory + "/stays" + std::to_string(i)).c_str());
  ASSERT_EQ(0, rmdir(directory.c_str())) << strerror(errno);
  EXPECT_EQ(0, fsync(dirfd(list.get()))) << strerror(errno);
  rewinddir(list.get());
  EXPECT_EQ(nullptr, readdir(list.get()));
  struct stat found = {};
  EXPECT_EQ(0, fstat(dirfd(list.get()), &found));
  EXPECT_EQ(found.st_nlink, 0u);
  // Nothing holds it beneath once it is closed.
}

TEST_F(Listing, PositionsSurviveRewindsAndSeeks) {
  constexpr int kFiles = 5000;
  ASSERT_NO_FATAL_FAILURE(MakeFiles("positions", kFiles));
  const Directory list = OpenList(OnMount("positions"));
  std::vector<std::pair<long, std::string>> entries;
  for (long at = telldir(list.get()); const dirent* entry = readdir(list.get());
       at = telldir(list.get())) {
    entries.emplace_back(at, entry->d_name);
  }
  EXPECT_EQ(entries.size(), static_cast<size_t>(kFiles) + 2);
  const auto expect_at = [&](size_t i) {
    seekdir(list.get(), entries[i].first);
    const dirent* entry = readdir(list.get());
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entries[i].second, entry->d_name);
  };
  for (size_t i = 0; i < entries.size(); i += 37) expect_at(entries.size() - 1 - i);
  // What is removed before a position does not move it; what is new comes after a rewind.
  for (size_t i = 0; i < entries.size() / 2; ++i) {
    if (entries[i].second[0] != '.') unlinkat(dirfd(list.get()), entries[i].second.c_str(), 0);
  }
  for (size_t i = entries.size() - 1; i > entries.size() / 2; i -= 41) expect_at(i);
  Write(OnMount("positions/new"), "new");
  rewinddir(list.get());
  std::set<std::string> names;
  while (const dirent* entry = readdir(list.get())) names.insert(entry->d_name);
  EXPECT_TRUE(names.contains("new"));
  for (size_t i = 0; i < entries.size(); ++i) {
    const bool there = i >= entries.size() / 2 || entries[i].second[0] == '.';
    EXPECT_EQ(names.contains(entries[i].second), there) << entries[i].second;
  }
  EXPECT_EQ(-1, lseek(dirfd(list.get()), -1, SEEK_SET));
}

// Name, kind and number of what `directory` lists.
std::set<std::string> KindsAndNumbers(const std::string& directory) {
  const Directory list = OpenList(directory);
  std::set<std::string> lines;
  while (const dirent* entry = readdir(list.get())) {
    const std::string name = entry->d_name;
    if (name == "..") continue;
    lines.insert(name + " " + std::to_string(entry->d_type) + " " + std::to_string(entry->d_ino));
  }
  return lines;
}

TEST_F(Listing, KindsAndNumbersInListings) {
  MakeEveryKind(source_);
  EXPECT_EQ(KindsAndNumbers(mount_.path()), KindsAndNumbers(source_));
}

// Their attributes are not sent again with the listing (fs/objects/known_names.h).
TEST_F(Listing, NamesTheKernelKnowsAreListedWithTheOthers) {
  constexpr int kFiles = 300;
  for (const int known : {1, kFiles / 2, kFiles}) {
    const std::string name = "known" + std::to_string(known);
    ASSERT_NO_FATAL_FAILURE(MakeFiles(name, kFiles));
    const auto path = [&](int i) { return OnMount(name) + "/stays" + std::to_string(i); };
    for (int i = 0; i < known; ++i) Lstat(path(i));
    for (int i = 0; i < 20; ++i) {  // more are known than are left
      const std::string gone = OnMount(name) + "/gone" + std::to_string(i);
      ASSERT_EQ(0, mknod(gone.c_str(), S_IFREG | 0600, 0));
      ASSERT_EQ(0, rename(gone.c_str(), (OnMount(name) + "/new").c_str()));
    }
    for (int round = 0; round < 2; ++round) {
      ExpectEachOnce(OnMount(name), kFiles);
      EXPECT_EQ(KindsAndNumbers(OnMount(name)), KindsAndNumbers(source_ + "/" + name));
      for (int i = 0; i < kFiles; ++i) {
        const std::string beneath = source_ + "/" + name + "/stays" + std::to_string(i);
        EXPECT_EQ(Lstat(path(i)).st_ino, Lstat(beneath).st_ino);
      }
    }
  }
}

}  // namespace
}  // namespace tandem::test
