// With -o writeback write(2) returns before anything has reached the directory beneath: what it
// accepted must get there, or an error must be given while somebody still listens.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"
#include "tests/loop_disk.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

UniqueFd Open(const std::string& path, int flags, mode_t mode = 0644) {
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC, mode));
}

// As chattr does: the other flags stay. Returns what the ioctl gave.
long SetFlag(const std::string& path, int flag, bool on) {
  const UniqueFd fd = Open(path, O_RDONLY);
  int flags = 0;
  if (ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) return -1;
  flags = on ? flags | flag : flags & ~flag;
  return ioctl(fd.get(), FS_IOC_SETFLAGS, &flags);
}

// Runs of one byte are long here: as "a*100".
void NoteContent(Transcript& seen, const std::string& path) {
  const std::string content = Read(path);
  std::string runs;
  for (size_t at = 0; at < content.size();) {
    const size_t end = std::min(content.find_first_not_of(content[at], at), content.size());
    runs += content[at];
    if (end - at > 2) runs += "*" + std::to_string(end - at);
    if (end - at == 2) runs += content[at];
    at = end;
  }
  seen.Note("content", runs);
}

class Writeback : public Conformance {
 protected:
  void SetUp() override {
    Conformance::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(MountAgain({"-o", "writeback"}));
  }
  // After all that the kernel holds has come, or failed to.
  void ExpectSameFile(const std::string& name) {
    (void)Open(OnMount(name), O_RDONLY);
    ::sync();
    EXPECT_TRUE(Read(source_ + "/" + name) == Read(Beneath(name))) << name;
  }
};

TEST_F(Writeback, AppendsToAnAppendOnlyFileStayThere) {
  ExpectSame("append-only", [](const std::string& directory, Transcript& seen) {
    const std::string path = directory + "/log";
    Write(path, "begun\n");
    seen.Call("set +a", SetFlag(path, FS_APPEND_FL, true));
    for (const int how : {O_WRONLY, O_WRONLY | O_APPEND, O_RDWR | O_APPEND, O_WRONLY | O_TRUNC,
                          O_WRONLY | O_APPEND | O_TRUNC, O_WRONLY | O_APPEND | O_SYNC}) {
      UniqueFd fd = Open(path, how);
      seen.Call("open " + std::to_string(how), fd.valid() ? 0 : -1);
      if (!fd.valid()) continue;
      seen.Call("write", write(fd.get(), "line\n", 5));
      seen.Call("write anywhere", pwrite(fd.get(), "other\n", 6, 0));
      seen.Call("write much", write(fd.get(), std::string(10'000, 'x').data(), 10'000));
      seen.Call("fsync", fsync(fd.get()));
      seen.Call("close", close(fd.Release()));
      NoteContent(seen, path);
    }
    const UniqueFd one = Open(path, O_WRONLY | O_APPEND);
    const UniqueFd two = Open(path, O_RDWR | O_APPEND);
    for (int i = 0; i < 50; ++i) {
      seen.Call("one", write(one.get(), "one", 3));
      seen.Call("two", write(two.get(), "twoo", 4));
    }
    seen.Call("truncate", ftruncate(two.get(), 1));
    seen.Call("times of now", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
    const timespec long_ago[2] = {{1, 1}, {1, 1}};
    seen.Call("times of once", utimensat(AT_FDCWD, path.c_str(), long_ago, 0));
    seen.State(path);
    NoteContent(seen, path);
    seen.Call("set -a", SetFlag(path, FS_APPEND_FL, false));
  });
  ExpectSameFile("append-only/log");
}

TEST_F(Writeback, WhoHadTheFileOpenBeforeMayStillWriteAnywhere) {
  ExpectSame("before", [](const std::string& directory, Transcript& seen) {
    const std::string path = directory + "/log";
    Write(path, std::string(100'000, 'a'));
    const UniqueFd before = Open(path, O_RDWR);
    seen.Call("write", pwrite(before.get(), "held back", 9, 50'000));
    seen.Call("append", pwrite(before.get(), "held back", 9, 100'000));
    seen.Call("set +a", SetFlag(path, FS_APPEND_FL, true));
    const UniqueFd log = Open(path, O_WRONLY | O_APPEND);
    seen.Call("open", log.valid() ? 0 : -1);
    seen.Call("append", write(log.get(), "appended", 8));
    seen.Call("write again", pwrite(before.get(), "still allowed", 13, 10));
    seen.Call("append again", pwrite(before.get(), std::string(9000, 'b').data(), 9000, 100'017));
    seen.Call("append", write(log.get(), "appended", 8));
    seen.Call("fsync", fsync(before.get()));
    seen.Call("fsync", fsync(log.get()));
    NoteContent(seen, path);
    seen.Call("set -a", SetFlag(path, FS_APPEND_FL, false));
  });
  ExpectSameFile("before/log");
}

// The directory beneath writes what it holds before a file becomes immutable.
TEST_F(Writeback, WhatWasWrittenBeforeAFileBecameImmutableIsThere) {
  ExpectSame("immutable", [](const std::string& directory, Transcript& seen) {
    const std::string path = directory + "/kept";
    UniqueFd fd = Open(path, O_RDWR | O_CREAT);
    seen.Call("write", write(fd.get(), std::string(300'000, 'k').data(), 300'000));
    seen.Call("set +i", SetFlag(path, FS_IMMUTABLE_FL, true));
    seen.Call("fsync", fsync(fd.get()));
    seen.Call("close", close(fd.Release()));
    NoteContent(seen, path);
    seen.Call("set -i", SetFlag(path, FS_IMMUTABLE_FL, false));
  });
  ExpectSameFile("immutable/kept");
  // Stores through a mapping, without -o writeback too.
  for (const std::string options : {"writeback", "max_threads=4"}) {
    ASSERT_TRUE(MountAgain({"-o", options}));
    ExpectSame(options, [](const std::string& directory, Transcript& seen) {
      const std::string path = directory + "/kept";
      Write(path, std::string(100'000, 'k'));
      UniqueFd fd = Open(path, O_RDWR);
      void* memory = mmap(nullptr, 100'000, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
      std::memset(static_cast<char*>(memory) + 50'000, 'm', 40'000);
      seen.Call("set +i", SetFlag(path, FS_IMMUTABLE_FL, true));
      seen.Call("msync", msync(memory, 100'000, MS_SYNC));
      munmap(memory, 100'000);
      seen.Call("set -i", SetFlag(path, FS_IMMUTABLE_FL, false));
      NoteContent(seen, path);
    });
    ExpectSameFile(options + "/kept");
  }
}

TEST_F(Writeback, AFileOnlyForWritingIsWritten) {
  ExpectSame("write-only", [](const std::string& directory, Transcript& seen) {
    const std::string path = directory + "/drop";
    Write(path, std::string(5000, 'd'));
    seen.Call("mode", chmod(path.c_str(), 0200));
    const UniqueFd fd = Open(path, O_WRONLY);
    seen.Call("open", fd.valid() ? 0 : -1);
    seen.Call("write", pwrite(fd.get(), "dropped", 7, 100));
    seen.Call("fsync", fsync(fd.get()));
    seen.Call("mode", chmod(path.c_str(), 0600));
    NoteContent(seen, path);
  });
}

// ---- A disk with little room -------------------------------------------------------------------

class WritebackOnASmallDisk : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    disk_ = std::make_unique<LoopDisk>(scratch_, "small", "ext4", source_);
    ASSERT_TRUE(disk_->Make(16 * kMiB));
    mount_.options().replicas.clear();
    mount_.options().more = {"-o", "writeback"};
    ASSERT_TRUE(mount_.Start());
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_TRUE(mount_.Unmount());
  }
  std::unique_ptr<LoopDisk> disk_;
};

TEST_F(WritebackOnASmallDisk, WhatFindsNoRoomIsToldByFsyncOrClose) {
  const std::string much(kMiB, 'm');
  for (const bool by_fsync : {true, false}) {
    UniqueFd fd = Open(mount_.path() + "/big", O_WRONLY | O_CREAT | O_TRUNC);
    ASSERT_TRUE(fd.valid()) << strerror(errno);
    bool told = false;
    for (int i = 0; i < 32 && !told; ++i) {
      told = write(fd.get(), much.data(), much.size()) != static_cast<ssize_t>(much.size());
    }
    if (by_fsync) told |= fsync(fd.get()) != 0 && errno == ENOSPC;
    const int closed = close(fd.Release());
    if (!by_fsync) told |= closed != 0 && errno == ENOSPC;
    EXPECT_TRUE(told) << (by_fsync ? "by fsync" : "by close");
    stdfs::remove(mount_.path() + "/big");
  }
}

}  // namespace
}  // namespace tandem::test
