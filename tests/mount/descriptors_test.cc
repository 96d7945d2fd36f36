// The kernel remembers more objects than a process may have descriptors.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr rlim_t kMaxDescriptors = 1024;
constexpr int kObjects = 2000;

// What is started meanwhile can have so many at most.
class LowLimit {
 public:
  LowLimit() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit low{kMaxDescriptors, kMaxDescriptors};
    setrlimit(RLIMIT_NOFILE, &low);
  }
  LowLimit(LowLimit&&) = delete;
  ~LowLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
};

// Of a process, in bytes: what it has allocated and touched.
size_t AnonymousMemory(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    size_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib << 10;
  }
  return 0;
}

class Descriptors : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    const LowLimit limit;
    ASSERT_TRUE(StartBoth());
  }
  std::string At(const std::string& name, int number) const {
    return mount_.path() + "/" + name + std::to_string(number);
  }
};

TEST_F(Descriptors, ObjectsThatKeepAnotherNameNeedNone) {
  for (int i = 0; i < kObjects; ++i) {
    Write(At("temporary", i), "as git makes its objects");
    ASSERT_EQ(0, link(At("temporary", i).c_str(), At("object", i).c_str())) << strerror(errno);
    ASSERT_EQ(0, unlink(At("temporary", i).c_str())) << strerror(errno);
  }
  EXPECT_TRUE(Converges());
}

TEST_F(Descriptors, TemporaryFilesThatGotANameNeedNone) {
  for (int i = 0; i < kObjects; ++i) {
    const UniqueFd fd(open(mount_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0640));
    if (!fd.valid() && errno == EOPNOTSUPP) GTEST_SKIP() << "this libfuse has no O_TMPFILE";
    ASSERT_TRUE(fd.valid()) << strerror(errno);
    const std::string name = "/proc/self/fd/" + std::to_string(fd.get());
    ASSERT_EQ(0,
              linkat(AT_FDCWD, name.c_str(), AT_FDCWD, At("named", i).c_str(), AT_SYMLINK_FOLLOW))
        << strerror(errno);
  }
  EXPECT_TRUE(Converges());
}

// The kernel keeps what find has seen; the daemon has a hundred bytes for each and gives them back.
TEST_F(Descriptors, ATreeThatWasListedCostsLittleMemoryAndIsForgotten) {
  constexpr int kDirectories = 40;
  constexpr int kInEach = 1000;
  constexpr size_t kMostPerObject = 150;
  constexpr size_t kSlack = 8 << 20;  // forgetting takes its time
  ASSERT_TRUE(mount_.Sync());         // so that the first copy is not what takes memory
  for (int d = 0; d < kDirectories; ++d) {
    const std::string directory = source_ + "/d" + std::to_string(d);
    ASSERT_EQ(0, mkdir(directory.c_str(), 0755));
    for (int i = 0; i < kInEach; ++i) {
      ASSERT_EQ(0, mknod((directory + "/" + std::to_string(i)).c_str(), S_IFREG | 0644, 0));
    }
  }
  const auto list = [this] {
    const Outcome outcome = Execute({"find", mount_.path(), "-size", "+1", "-newer", source_});
    ASSERT_EQ(outcome.code, 0) << outcome;
  };
  const size_t before = AnonymousMemory(mount_.process().pid());
  list();
  const size_t after = AnonymousMemory(mount_.process().pid());
  EXPECT_LT(after, before + kDirectories * kInEach * kMostPerObject + kSlack);
  // Again and again forgotten: it must not add up.
  for (int round = 0; round < 4; ++round) {
    Write("/proc/sys/vm/drop_caches", "2");
    list();
  }
  EXPECT_LT(AnonymousMemory(mount_.process().pid()), after + kSlack);
}

TEST_F(Descriptors, ReplacedFilesInUseStayReadable) {
  constexpr int kInUse = 200;
  std::vector<UniqueFd> in_use;
  for (int i = 0; i < kInUse; ++i) {
    Write(At("file", i), "replaced " + std::to_string(i));
    in_use.emplace_back(open(At("file", i).c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(in_use.back().valid()) << strerror(errno);
    Write(At("new", i), "new");
    ASSERT_EQ(0, rename(At("new", i).c_str(), At("file", i).c_str())) << strerror(errno);
  }
  // Enough others to close every descriptor that may be closed.
  for (int i = 0; i < kObjects; ++i) Write(At("other", i), "");
  for (int i = 0; i < kInUse; ++i) {
    const int fd = in_use[static_cast<size_t>(i)].get();
    const std::string content = "replaced " + std::to_string(i);
    std::string read(content.size(), '\0');
    EXPECT_EQ(pread(fd, read.data(), read.size(), 0), static_cast<ssize_t>(read.size()));
    EXPECT_EQ(read, content);
    EXPECT_EQ(0, fchmod(fd, 0600)) << strerror(errno);  // not through the open file: by descriptor
  }
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
