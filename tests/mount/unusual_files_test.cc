// What programs do with files beside reading and writing, and names beside the usual ones.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

class UnusualFiles : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }
  std::string At(const std::string& name) const { return mount_.path() + "/" + name; }
};

TEST_F(UnusualFiles, WritesThroughASharedMappingArrive) {
  Write(At("mapped"), std::string(2 * kMiB, 'a'));
  ASSERT_TRUE(Converges());
  const UniqueFd fd(open(At("mapped").c_str(), O_RDWR | O_CLOEXEC));
  void* memory = mmap(nullptr, 2 * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED) << strerror(errno);
  const std::string bytes = RandomBytes(300'000);
  bytes.copy(static_cast<char*>(memory) + 500'001, bytes.size());
  // Not even an msync: the sync is told to find it.
  EXPECT_TRUE(Converges());
  static_cast<char*>(memory)[0] = 'z';
  munmap(memory, 2 * kMiB);
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, ATemporaryFileThatGetsANameArrivesWhole) {
  const UniqueFd fd(open(mount_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0640));
  if (!fd.valid() && errno == EOPNOTSUPP) GTEST_SKIP() << "this libfuse has no O_TMPFILE";
  ASSERT_TRUE(fd.valid()) << strerror(errno);
  const std::string bytes = RandomBytes(kMiB);
  ASSERT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  ASSERT_TRUE(Converges());
  const std::string name = "/proc/self/fd/" + std::to_string(fd.get());
  ASSERT_EQ(0, linkat(AT_FDCWD, name.c_str(), AT_FDCWD, At("named").c_str(), AT_SYMLINK_FOLLOW))
      << strerror(errno);
  ASSERT_EQ(1, pwrite(fd.get(), "!", 1, 5));
  EXPECT_TRUE(Converges());
  EXPECT_EQ(stdfs::file_size(replica_.tree() + "/named"), kMiB);
}

TEST_F(UnusualFiles, AnExchangeOfNamesArrives) {
  Write(At("a"), "content of a");
  stdfs::create_directories(At("b/below"));
  Write(At("b/below/file"), "below");
  ASSERT_TRUE(Converges());
  ASSERT_EQ(0, renameat2(AT_FDCWD, At("a").c_str(), AT_FDCWD, At("b").c_str(), RENAME_EXCHANGE))
      << strerror(errno);
  EXPECT_TRUE(Converges());
  // A directory with its own parent's neighbour.
  stdfs::create_directory(At("c"));
  ASSERT_EQ(0,
            renameat2(AT_FDCWD, At("a/below").c_str(), AT_FDCWD, At("c").c_str(), RENAME_EXCHANGE));
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, WhatIsWrittenAfterUnlinkLeavesNothingBehind) {
  Write(At("open"), RandomBytes(kMiB));
  ASSERT_TRUE(Converges());
  const UniqueFd fd(open(At("open").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(0, unlink(At("open").c_str()));
  const std::string bytes = RandomBytes(kMiB, 5);
  ASSERT_EQ(pwrite(fd.get(), bytes.data(), bytes.size(), 77), static_cast<ssize_t>(bytes.size()));
  Write(At("open"), "another file of that name");
  EXPECT_TRUE(Converges());
  ASSERT_EQ(0, ftruncate(fd.get(), 5));
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, NamesOfAnyBytesArrive) {
  std::string all_bytes;
  for (int c = 1; c < 256; ++c) {
    if (c != '/') all_bytes += static_cast<char>(c);
  }
  for (const std::string& name : {std::string(255, 'n'), all_bytes, std::string("\xff\xfe\x80"),
                                  std::string("new\nline"), std::string("..."), std::string(" "),
                                  std::string("-rf"), std::string("\\x41"), std::string("a\tb")}) {
    Write(At(name), name);
    stdfs::create_directory(At("d"));
    Write(At("d/") + name, name);
  }
  ASSERT_TRUE(Converges());
  stdfs::rename(At(all_bytes), At("plain"));
  stdfs::remove(At("\xff\xfe\x80"));
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

TEST_F(UnusualFiles, HardLinksAcrossDirectoriesStayOneFile) {
  stdfs::create_directories(At("x/y"));
  stdfs::create_directories(At("z"));
  Write(At("x/one"), RandomBytes(100'000));
  stdfs::create_hard_link(At("x/one"), At("x/y/two"));
  stdfs::create_hard_link(At("x/one"), At("z/three"));
  ASSERT_TRUE(Converges());
  WriteAt(At("z/three"), 50, "by one name, seen by all");
  stdfs::rename(At("x/y"), At("z/y"));
  stdfs::remove(At("x/one"));
  stdfs::create_hard_link(At("z/y/two"), At("x/four"));
  EXPECT_TRUE(Converges());
  EXPECT_EQ(Lstat(replica_.tree() + "/x/four").st_nlink, 3u);
  // Renaming one link over another of the same file does nothing; replacing one breaks it off.
  ASSERT_EQ(0, rename(At("x/four").c_str(), At("z/three").c_str()));
  Write(At("new"), "new");
  stdfs::rename(At("new"), At("z/three"));
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, AFileMayHaveThousandsOfNames) {
  constexpr int kNames = 10'000;
  Write(At("file"), "one of many");
  for (const char* kind : {"/a", "/b"}) {
    ASSERT_EQ(0, mkdir(At(kind).c_str(), 0755));
    for (int i = 0; i < kNames; ++i) {
      const std::string name = At(kind) + "/" + std::to_string(i);
      ASSERT_EQ(0, link(At("file").c_str(), name.c_str())) << strerror(errno);
    }
    ASSERT_TRUE(mount_.Sync());
  }
  stdfs::remove_all(At("a"));
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, ADirectoryMayBeRenamedWhileItsFilesAreWritten) {
  stdfs::create_directories(At("moving/deep/er"));
  const UniqueFd fd(open(At("moving/deep/er/file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd.valid());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t i = 0; !stop; ++i) {
      const std::string bytes = RandomBytes(4096, i);
      EXPECT_EQ(pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(i % 200 * 4096)),
                static_cast<ssize_t>(bytes.size()));
    }
  });
  std::string now = "moving";
  for (int i = 0; i < 300; ++i) {
    const std::string next = i % 3 == 0 ? "moved" : (i % 3 == 1 ? "moved again" : "moving");
    EXPECT_EQ(0, rename(At(now).c_str(), At(next).c_str()));
    now = next;
    Write(At(now + "/deep/new"), std::to_string(i));
    EXPECT_EQ(0, rename(At(now + "/deep").c_str(), At(now + "/other").c_str()));
    EXPECT_EQ(0, rename(At(now + "/other").c_str(), At(now + "/deep").c_str()));
  }
  stop = true;
  writer.join();
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, ADirectoryMayTakeThePlaceOfItsParent) {
  stdfs::create_directories(At("a/b/c"));
  Write(At("a/b/c/file"), "text");
  Write(At("a/file"), "other");
  ASSERT_TRUE(Converges());
  stdfs::rename(At("a/b"), At("b"));
  stdfs::rename(At("a"), At("b/c/a"));
  stdfs::rename(At("b"), At("a"));
  EXPECT_TRUE(Converges());
  stdfs::remove_all(At("a"));
  stdfs::create_directories(At("a/b"));
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, FlagsOfFilesHoldNothingUp) {
  // As chattr does: the other flags stay. (ext4 cannot take its extents from every file.)
  const auto set_flag = [&](const std::string& name, int flag, bool on) {
    const UniqueFd fd(open(At(name).c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    EXPECT_EQ(0, ioctl(fd.get(), FS_IOC_GETFLAGS, &flags)) << name << ": " << strerror(errno);
    flags = on ? flags | flag : flags & ~flag;
    EXPECT_EQ(0, ioctl(fd.get(), FS_IOC_SETFLAGS, &flags)) << name << ": " << strerror(errno);
  };
  Write(At("log"), "begun\n");
  stdfs::create_directory(At("kept"));
  Write(At("kept/file"), "kept");
  ASSERT_TRUE(Converges());
  set_flag("log", FS_APPEND_FL, true);
  set_flag("kept", FS_IMMUTABLE_FL, true);
  const UniqueFd log(open(At("log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_TRUE(log.valid()) << strerror(errno);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(5, write(log.get(), "line\n", 5));
  EXPECT_NE(0, unlink(At("kept/file").c_str()));
  EXPECT_TRUE(Converges());
  EXPECT_EQ(stdfs::file_size(replica_.tree() + "/log"), 5006u);
  set_flag("log", FS_APPEND_FL, false);
  set_flag("kept", FS_IMMUTABLE_FL, false);
  stdfs::remove_all(At("kept"));
  WriteAt(At("log"), 3, "anywhere");
  EXPECT_TRUE(Converges());
}

TEST_F(UnusualFiles, AllocationOfSpaceArrives) {
  Write(At("file"), RandomBytes(4 * kMiB));
  ASSERT_TRUE(Converges());
  const UniqueFd fd(open(At("file").c_str(), O_RDWR | O_CLOEXEC));
  // The kernel passes on no other mode to FUSE.
  const struct {
    int mode;
    off_t offset, length;
  } steps[] = {{FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100'000, 500'000},
               {FALLOC_FL_ZERO_RANGE, 4096 * 300, 4096 * 20},
               {FALLOC_FL_KEEP_SIZE, 6 << 20, 100'000},
               {0, 5 << 20, 100'000}};
  for (const auto& step : steps) {
    ASSERT_EQ(0, fallocate(fd.get(), step.mode, step.offset, step.length)) << strerror(errno);
    EXPECT_TRUE(Converges()) << "after fallocate mode " << step.mode;
  }
}

}  // namespace
}  // namespace tandem::test
