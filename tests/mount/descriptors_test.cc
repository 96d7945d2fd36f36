// The kernel remembers more objects than a process may have descriptors.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

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
