// Content by every road: mappings, direct and appending descriptors, files without names, holes,
// limits.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"
#include "tests/loop_disk.h"

namespace tandem::test {
namespace {

constexpr size_t kPage = 4096;

class Content : public Conformance {};

// Digest enough: contents of tests are short or regular.
void NoteContent(Transcript& transcript, const std::string& path) {
  const std::string content = Read(path);
  transcript.Note("size", static_cast<long>(content.size()));
  transcript.Note("content", std::to_string(std::hash<std::string>()(content)));
}

class Mapping {
 public:
  Mapping(int fd, size_t length, int protection, int flags)
      : memory_(mmap(nullptr, length, protection, flags, fd, 0)), length_(length) {}
  Mapping(Mapping&&) = delete;
  ~Mapping() {
    if (valid()) munmap(memory_, length_);
  }
  bool valid() const { return memory_ != MAP_FAILED; }
  char* bytes() const { return static_cast<char*>(memory_); }
  long Sync(int flags) const { return msync(memory_, length_, flags); }

 private:
  void* memory_;
  size_t length_;
};

UniqueFd Open(const std::string& path, int flags, mode_t mode = 0644) {
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC, mode));
}

TEST_F(Content, MappingsSeeWritesAndReadsSeeStores) {
  ExpectSame("mapped", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/file";
    Write(path, std::string(4 * kPage, 'a'));
    const UniqueFd fd = Open(path, O_RDWR);
    const UniqueFd other = Open(path, O_RDWR);
    {
      const Mapping map(fd.get(), 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
      transcript.Call("write", pwrite(other.get(), "written", 7, 100));
      transcript.Note("in the map", std::string(map.bytes() + 99, 9));
      std::memcpy(map.bytes() + kPage + 5, "stored", 6);
      transcript.Note("read", ReadAt(path, kPage + 4, 8));
      transcript.Call("msync", map.Sync(MS_SYNC));
      transcript.Call("msync async", map.Sync(MS_ASYNC));
      transcript.Call("truncate", ftruncate(other.get(), 2 * kPage + 10));
      map.bytes()[2 * kPage + 3] = 'z';
      std::memcpy(map.bytes() + 10, "without msync", 13);
    }
    NoteContent(transcript, path);
    const Mapping own(fd.get(), 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    std::memcpy(own.bytes(), "private", 7);
    transcript.Note("the file's", ReadAt(path, 0, 7));
    // After the last descriptor of it is closed, and its name is gone.
    const Mapping kept(Open(path, O_RDWR).get(), 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
    unlink(path.c_str());
    kept.bytes()[0] = 'k';
    transcript.Call("read", pread(other.get(), own.bytes() + kPage, 1, 0));
    transcript.Note("the byte", std::string(own.bytes() + kPage, 1));
  });
}

TEST_F(Content, MappingsAreRefusedAsBeneath) {
  ExpectSame("refused", [](const std::string& directory, Transcript& transcript) {
    Write(directory + "/file", std::string(kPage, 'a'));
    for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND, O_PATH}) {
      const UniqueFd fd = Open(directory + "/file", flags);
      for (const int protection : {PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC | PROT_READ}) {
        for (const int kind : {MAP_SHARED, MAP_PRIVATE}) {
          const Mapping map(fd.get(), kPage, protection, kind);
          transcript.Call("map " + std::to_string(flags), map.valid() ? 0 : -1);
        }
      }
    }
    const UniqueFd list = Open(directory, O_RDONLY | O_DIRECTORY);
    transcript.Call("map a directory",
                    Mapping(list.get(), kPage, PROT_READ, MAP_SHARED).valid() ? 0 : -1);
  });
}

TEST_F(Content, AccessBehindTheEndOfAMappedFileIsABusError) {
  ExpectSame("bus", [](const std::string& directory, Transcript& transcript) {
    const UniqueFd fd = Open(directory + "/file", O_RDWR | O_CREAT);
    transcript.Call("truncate", ftruncate(fd.get(), 10));
    const std::string text = InProcess([&](Transcript& inner) {
      const Mapping map(fd.get(), 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
      inner.Note("behind the end", std::string(map.bytes() + 4000, 1));
      inner.Note("a page behind", std::string(map.bytes() + kPage, 1));
    });
    transcript.Append(text);
  });
}

TEST_F(Content, DirectTransfersThatAreAligned) {
  ExpectSame("direct", [](const std::string& directory, Transcript& transcript) {
    constexpr size_t kSize = 64 * kPage;
    void* memory = nullptr;
    ASSERT_EQ(0, posix_memalign(&memory, kPage, kSize));
    const std::unique_ptr<void, decltype(&std::free)> owned(memory, &std::free);
    char* const bytes = static_cast<char*>(memory);
    const std::string path = directory + "/file";
    const UniqueFd fd = Open(path, O_RDWR | O_CREAT | O_DIRECT);
    const UniqueFd buffered = Open(path, O_RDWR);
    RandomBytes(kSize).copy(bytes, kSize);
    transcript.Call("write", pwrite(fd.get(), bytes, kSize, 0));
    NoteContent(transcript, path);
    // Direct and buffered see each other's.
    transcript.Call("buffered", pwrite(buffered.get(), "buffered", 8, kPage + 3));
    transcript.Call("read", pread(fd.get(), bytes, 2 * kPage, 0));
    transcript.Note("seen", std::string(bytes + kPage, 16));
    bytes[0] = '!';
    transcript.Call("write", pwrite(fd.get(), bytes, kPage, 8 * kPage));
    transcript.Note("seen", ReadAt(path, 8 * kPage, 16));
    transcript.Call("behind the end", pread(fd.get(), bytes, kPage, 2 * kSize));
    transcript.Call("truncate", ftruncate(fd.get(), kSize - 100));
    transcript.Call("up to the end", pread(fd.get(), bytes, kSize, 0));
    iovec parts[2] = {{bytes + 8 * kPage, kPage}, {bytes, kPage}};
    transcript.Call("pwritev", pwritev(fd.get(), parts, 2, kSize));
    NoteContent(transcript, path);
    transcript.Call("direct after all", fcntl(fd.get(), F_SETFL, 0));
    transcript.Call("unaligned", pwrite(fd.get(), "x", 1, 3));
    transcript.Call("make it direct", fcntl(buffered.get(), F_SETFL, O_DIRECT));
    transcript.Call("write", pwrite(buffered.get(), bytes, kPage, 0));
    NoteContent(transcript, path);
  });
}

TEST_F(Content, TwoProcessesThatAppendOverwriteNothing) {
  constexpr int kLines = 2000;
  ExpectSame("appended", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/log";
    const auto append = [&](char letter) {
      const UniqueFd fd = Open(path, O_WRONLY | O_CREAT | O_APPEND);
      const std::string line = std::string(30, letter) + "\n";
      for (int i = 0; i < kLines; ++i) {
        if (write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) return;
      }
    };
    const pid_t child = fork();
    if (child == 0) {
      append('c');
      _exit(0);
    }
    append('p');
    int status = 0;
    waitpid(child, &status, 0);
    std::string content = Read(path);
    transcript.Note("lines of the child", std::count(content.begin(), content.end(), 'c') / 30);
    transcript.Note("lines of the parent", std::count(content.begin(), content.end(), 'p') / 30);
    bool torn = false;
    for (size_t i = 0; i < content.size(); i += 31) {
      torn |= content.substr(i, 30) != std::string(30, content[i]);
    }
    transcript.Note("torn", torn ? "yes" : "no");
  });
}

TEST_F(Content, AppendingDescriptors) {
  ExpectSame("append", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/file";
    Write(path, "0123456789");
    const UniqueFd fd = Open(path, O_RDWR | O_APPEND);
    transcript.Call("position", lseek(fd.get(), 0, SEEK_CUR));
    transcript.Call("write", write(fd.get(), "ab", 2));
    transcript.Call("position", lseek(fd.get(), 0, SEEK_CUR));
    transcript.Call("pwrite", pwrite(fd.get(), "cd", 2, 3));
    transcript.Call("position", lseek(fd.get(), 0, SEEK_CUR));
    iovec part = {const_cast<char*>("ef"), 2};
    transcript.Call("pwritev2", pwritev2(fd.get(), &part, 1, 1, 0));
    const UniqueFd plain = Open(path, O_RDWR);
    transcript.Call("append once", pwritev2(plain.get(), &part, 1, 1, RWF_APPEND));
    transcript.Call("at its place", pwrite(plain.get(), "gh", 2, 1));
    transcript.Call("append no more", fcntl(fd.get(), F_SETFL, 0));
    transcript.Call("pwrite", pwrite(fd.get(), "ij", 2, 5));
    transcript.Call("append from now", fcntl(plain.get(), F_SETFL, O_APPEND));
    transcript.Call("pwrite", pwrite(plain.get(), "kl", 2, 0));
    off_t from = 0;
    off_t to = 0;
    transcript.Call("copy", copy_file_range(fd.get(), &from, plain.get(), &to, 4, 0));
    transcript.Note("content", Read(path));
  });
}

TEST_F(Content, FilesWithoutNames) {
  if (!HasNamelessFiles()) GTEST_SKIP() << "this libfuse has no O_TMPFILE";
  ExpectSame("nameless", [](const std::string& directory, Transcript& transcript) {
    const auto link_in = [&](const UniqueFd& fd, const char* name) {
      const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
      const std::string to = directory + "/" + name;
      transcript.Call("link",
                      linkat(AT_FDCWD, path.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW));
      transcript.State(to);
    };
    const UniqueFd fd = Open(directory, O_TMPFILE | O_RDWR, 0640);
    transcript.Call("write", write(fd.get(), "nameless", 8));
    struct stat s;
    transcript.Call("stat", fstat(fd.get(), &s));
    transcript.Note("links", static_cast<long>(s.st_nlink));
    transcript.Note("mode", s.st_mode);
    link_in(fd, "named");
    link_in(fd, "named twice");
    link_in(fd, "named");
    const UniqueFd exclusive = Open(directory, O_TMPFILE | O_RDWR | O_EXCL, 0600);
    link_in(exclusive, "never");
    transcript.Call("read only", Open(directory, O_TMPFILE | O_RDONLY).valid() ? 0 : -1);
    transcript.Call("of a file", Open(directory + "/named", O_TMPFILE | O_RDWR).valid() ? 0 : -1);
    transcript.Call("nowhere", Open(directory + "/no", O_TMPFILE | O_RDWR).valid() ? 0 : -1);
    unlink((directory + "/named").c_str());
    unlink((directory + "/named twice").c_str());
    transcript.Call("write", write(fd.get(), " again", 6));
    transcript.Call("stat", fstat(fd.get(), &s));
    transcript.Note("links", static_cast<long>(s.st_nlink));
    link_in(fd, "too late");
  });
}

TEST_F(Content, UnlinkedFilesStayUsable) {
  ExpectSame("unlinked", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/file";
    const UniqueFd fd = Open(path, O_RDWR | O_CREAT);
    transcript.Call("unlink", unlink(path.c_str()));
    transcript.Call("write", write(fd.get(), "text", 4));
    transcript.Call("truncate", ftruncate(fd.get(), 100));
    transcript.Call("allocate", fallocate(fd.get(), 0, 0, 10'000));
    transcript.Call("chmod", fchmod(fd.get(), 0604));
    transcript.Call("chown", fchown(fd.get(), 5, 6));
    const timespec times[2] = {{1, 2}, {3, 4}};
    transcript.Call("times", futimens(fd.get(), times));
    transcript.Call("sync", fsync(fd.get()));
    struct stat s;
    transcript.Call("stat", fstat(fd.get(), &s));
    transcript.Note("links", static_cast<long>(s.st_nlink));
    transcript.Note("mode", s.st_mode);
    transcript.Note("size", s.st_size);
    transcript.Note("times", s.st_mtim.tv_sec * 10 + s.st_mtim.tv_nsec);
    const std::string again = "/proc/self/fd/" + std::to_string(fd.get());
    transcript.Call("open again", Open(again, O_RDWR).valid() ? 0 : -1);
    transcript.Call("truncate again", truncate(again.c_str(), 3));
    char text[8] = {};
    transcript.Call("read", pread(fd.get(), text, sizeof text, 0));
    transcript.Note("text", text);
    // A directory that is gone while it is open.
    const std::string gone = directory + "/gone";
    mkdir(gone.c_str(), 0755);
    const UniqueFd list = Open(gone, O_RDONLY | O_DIRECTORY);
    transcript.Call("rmdir", rmdir(gone.c_str()));
    transcript.Call("create", openat(list.get(), "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    transcript.Call("mkdir", mkdirat(list.get(), "new", 0755));
    transcript.Call("link", linkat(AT_FDCWD, again.c_str(), list.get(), "l", AT_SYMLINK_FOLLOW));
    transcript.Call("look up", faccessat(list.get(), "..", F_OK, 0));
    transcript.Call("stat", fstat(list.get(), &s));
    transcript.Note("links", static_cast<long>(s.st_nlink));
  });
}

TEST_F(Content, HolesAreKeptAndFound) {
  ExpectSame("holes", [](const std::string& directory, Transcript& transcript) {
    constexpr off_t kMiB = 1 << 20;
    const std::string path = directory + "/sparse";
    const UniqueFd fd = Open(path, O_RDWR | O_CREAT);
    const std::string block(kPage, 'd');
    for (const off_t at : {off_t{0}, 3 * kMiB, 5 * kMiB, 5 * kMiB + off_t{kPage}}) {
      transcript.Call("write", pwrite(fd.get(), block.data(), block.size(), at));
    }
    transcript.Call("truncate", ftruncate(fd.get(), 8 * kMiB));
    fsync(fd.get());
    const auto note_layout = [&] {
      off_t at = 0;
      for (int i = 0; i < 20; ++i) {
        const off_t data = lseek(fd.get(), at, SEEK_DATA);
        transcript.Call("data", data);
        if (data < 0) break;
        at = lseek(fd.get(), data, SEEK_HOLE);
        transcript.Call("hole", at);
      }
      struct stat s;
      fstat(fd.get(), &s);
      transcript.Note("size", s.st_size);
    };
    note_layout();
    for (const int whence : {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 17}) {
      for (const off_t at : {off_t{-1}, off_t{0}, kMiB, 8 * kMiB, 9 * kMiB}) {
        transcript.Call("seek " + std::to_string(whence), lseek(fd.get(), at, whence));
      }
    }
    const struct {
      int mode;
      off_t offset, length;
    } steps[] = {
        {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * kMiB, kPage},
        {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 200},
        {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 7 * kMiB, 9 * kMiB},
        {FALLOC_FL_PUNCH_HOLE, 0, kPage},
        {FALLOC_FL_ZERO_RANGE, 3 * kMiB + 10, 20},
        {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 8 * kMiB, kMiB},
        {FALLOC_FL_KEEP_SIZE, 9 * kMiB, kMiB},
        {0, 9 * kMiB, kMiB},
        {0, 0, 0},
        {0, -1, 10},
        {0, 10, -1},
        {0x4000, 0, 10},
    };
    for (const auto& step : steps) {
      transcript.Call("fallocate " + std::to_string(step.mode),
                      fallocate(fd.get(), step.mode, step.offset, step.length));
      fsync(fd.get());
      note_layout();
    }
    NoteContent(transcript, path);
    const UniqueFd reader = Open(path, O_RDONLY);
    transcript.Call("fallocate", fallocate(reader.get(), 0, 0, 10));
    const UniqueFd list = Open(directory, O_RDONLY | O_DIRECTORY);
    transcript.Call("fallocate a directory", fallocate(list.get(), 0, 0, 10));
  });
}

TEST_F(Content, CopiesWithinAndBetweenFiles) {
  ExpectSame("copies", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/from";
    Write(path, RandomBytes(300'000));
    const UniqueFd from = Open(path, O_RDWR);
    const UniqueFd to = Open(directory + "/to", O_RDWR | O_CREAT);
    const auto copy = [&](const UniqueFd& a, off_t at, const UniqueFd& b, off_t target, size_t n,
                          unsigned flags = 0) {
      transcript.Call("copy", copy_file_range(a.get(), &at, b.get(), &target, n, flags));
      transcript.Note("read up to", at);
      transcript.Note("written up to", target);
    };
    copy(from, 100, to, 5000, 200'000);
    copy(from, 299'000, to, 0, 5000);
    copy(from, 300'000, to, 0, 10);
    copy(from, 400'000, to, 0, 10);
    copy(from, 0, from, 350'000, 1000);
    copy(from, 0, from, 500, 1000);
    copy(from, 0, to, 0, 10, 1);
    copy(to, 0, Open(path, O_RDONLY), 0, 10);
    copy(Open(path, O_WRONLY), 0, to, 0, 10);
    NoteContent(transcript, path);
    NoteContent(transcript, directory + "/to");
  });
}

TEST_F(Content, ReadAndWriteErrors) {
  ExpectSame("errors", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/file";
    Write(path, "text");
    char buffer[16];
    const UniqueFd reader = Open(path, O_RDONLY);
    const UniqueFd writer = Open(path, O_WRONLY);
    const UniqueFd list = Open(directory, O_RDONLY | O_DIRECTORY);
    transcript.Call("write to a reader", write(reader.get(), "x", 1));
    transcript.Call("read from a writer", read(writer.get(), buffer, 1));
    transcript.Call("read a directory", read(list.get(), buffer, 1));
    transcript.Call("before the start", pread(reader.get(), buffer, 1, -1));
    transcript.Call("at the end", pread(reader.get(), buffer, 8, 4));
    transcript.Call("behind the end", pread(reader.get(), buffer, 8, 400));
    // Through a volatile, or the compiler warns of what is meant.
    const volatile uintptr_t bad_address = 8;
    char* const bad = reinterpret_cast<char*>(bad_address);
    transcript.Call("bad memory", read(reader.get(), bad, 4));
    transcript.Call("from bad memory", write(writer.get(), bad, 4));
    transcript.Call("nothing", write(writer.get(), nullptr, 0));
    transcript.Call("truncate a reader", ftruncate(reader.get(), 1));
    transcript.Call("negative", ftruncate(writer.get(), -1));
    transcript.Call("truncate a directory", truncate(directory.c_str(), 0));
    transcript.Call("too large", ftruncate(writer.get(), INT64_MAX));
    transcript.Call("write too far", pwrite(writer.get(), "x", 1, INT64_MAX - 1));
    transcript.Call("sync", fsync(reader.get()));
    transcript.Call("sync", fdatasync(list.get()));
    transcript.Call("advise", posix_fadvise(reader.get(), 0, 0, POSIX_FADV_DONTNEED));
    transcript.Call("ranges", sync_file_range(writer.get(), 0, 4, SYNC_FILE_RANGE_WRITE));
    for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC,
                            O_DIRECTORY | O_CREAT | O_RDWR, O_RDONLY | O_DIRECT}) {
      transcript.Call("open a directory", Open(directory, flags).valid() ? 0 : -1);
    }
    transcript.Call("as a directory", Open(path, O_DIRECTORY).valid() ? 0 : -1);
    transcript.Call("below a file", Open(path + "/x", O_RDONLY).valid() ? 0 : -1);
  });
}

TEST_F(Content, TheLimitOfFileSizeIsTheCallers) {
  ExpectSame("limited", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/file";
    const UniqueFd fd = Open(path, O_RDWR | O_CREAT);
    const rlimit limit = {10'000, 10'000};
    const auto within = [&](const char* what, bool ignore, const std::function<long()>& call) {
      transcript.Append(InProcess([&](Transcript& inner) {
        std::signal(SIGXFSZ, ignore ? SIG_IGN : SIG_DFL);
        setrlimit(RLIMIT_FSIZE, &limit);
        inner.Call(what, call());
      }));
    };
    const std::string bytes(20'000, 'b');
    for (const bool ignore : {false, true}) {
      within("up to it", ignore, [&] { return pwrite(fd.get(), bytes.data(), 20'000, 0); });
      within("from it", ignore, [&] { return pwrite(fd.get(), bytes.data(), 1, 10'000); });
      within("truncate", ignore, [&] { return ftruncate(fd.get(), 10'001); });
      within("truncate", ignore, [&] { return truncate(path.c_str(), 10'000); });
      within("allocate", ignore, [&] { return fallocate(fd.get(), 0, 9000, 2000); });
      within("keep size", ignore,
             [&] { return fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 9000, 2000); });
    }
    transcript.State(path);
  });
}

TEST_F(Content, TheBlocksKeptForRootAreRootsAlone) {
  const std::string source = scratch_.Directory("disk");
  LoopDisk disk(scratch_, "disk", "ext4", source);
  ASSERT_TRUE(disk.Make(64 << 20));
  Mount::Options options = OptionsOf("disk-mount");
  options.source = source;
  options.replicas.clear();
  Mount mount(options);
  ASSERT_TRUE(mount.Start());
  const auto free_blocks = [&] {
    const UniqueFd root = Open(source, O_RDONLY | O_DIRECTORY);
    syncfs(root.get());
    struct statvfs statistics = {};
    fstatvfs(root.get(), &statistics);
    return statistics.f_bfree;
  };
  const auto all = free_blocks();
  const auto megabytes_for = [&](const User& user, const std::string& directory) {
    const std::string path = directory + "/filled";
    {
      const UniqueFd fd = Open(path, O_RDWR | O_CREAT | O_TRUNC);
      EXPECT_EQ(0, fchown(fd.get(), user.uid, user.gid));
      const auto fill = [&](Transcript&) {
        const std::string bytes(1 << 20, 'x');
        while (write(fd.get(), bytes.data(), bytes.size()) > 0) {
        }
      };
      InProcess(fill, user);
    }
    const auto size = static_cast<double>(Lstat(path).st_size);
    EXPECT_EQ(0, unlink(path.c_str()));
    // What was open through the mount is closed beneath a little later.
    EXPECT_TRUE(WaitFor([&] { return free_blocks() + 16 >= all; }));
    return size / (1 << 20);
  };
  const User user{12'001, 12'001};
  const double beneath = megabytes_for(user, source);
  EXPECT_NEAR(megabytes_for(user, mount.path()), beneath, 1);
  EXPECT_GT(megabytes_for({}, mount.path()), beneath + 2);
  EXPECT_NEAR(megabytes_for(user, mount.path()), beneath, 1);
}

TEST_F(Content, ProgramsThatRunAreBusy) {
  ExpectSame("busy", [](const std::string& directory, Transcript& transcript) {
    const std::string path = directory + "/sleep";
    transcript.Call("copy", Execute({"cp", "/bin/sleep", path}).code);
    Process sleeper(Launch{{path, "1000"}});
    const std::string link = "/proc/" + std::to_string(sleeper.pid()) + "/exe";
    WaitFor([&] { return std::string(std::filesystem::read_symlink(link)).ends_with("/sleep"); });
    transcript.Call("open", Open(path, O_WRONLY).valid() ? 0 : -1);
    transcript.Call("truncate", truncate(path.c_str(), 0));
    transcript.Call("read", Open(path, O_RDONLY).valid() ? 0 : -1);
    transcript.Call("unlink", unlink(path.c_str()));
    sleeper.Signal(SIGKILL);
    transcript.Call("ended", sleeper.Wait().value_or(-1));
    // The other way round: what is written cannot be run.
    transcript.Call("copy", Execute({"cp", "/bin/true", path}).code);
    const UniqueFd writer = Open(path, O_WRONLY);
    transcript.Call("run", Execute({path}).code);
  });
}

}  // namespace
}  // namespace tandem::test
