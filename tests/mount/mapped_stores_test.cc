// Stores through shared mappings, which the kernel sends when it likes: those made before
// `tandem sync` was called are on the replica when it returns, and those made before a clean end
// are in SOURCE, or the end says that they may not be.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

constexpr size_t kPages = 4000;

size_t PagesWith(const std::string& path, const std::string& tag) {
  const std::string content = Read(path);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t count = 0;
  for (size_t at = 0; at + tag.size() <= content.size(); at += page) {
    if (content.compare(at, tag.size(), tag) == 0) ++count;
  }
  return count;
}

class MappedStores : public MountTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    if (*GetParam() != '\0') mount_.options().more = {"-o", GetParam()};
  }

  std::unique_ptr<Process> MapAndStore(const std::string& name, const std::string& tag,
                                       std::vector<std::string> more = {}) {
    std::vector<std::string> command = {Program("tests/map_writer"), mount_.path() + "/" + name,
                                        std::to_string(kPages), tag};
    command.insert(command.end(), more.begin(), more.end());
    auto process = std::make_unique<Process>(Launch{command});
    EXPECT_TRUE(WaitFor([&] { return process->out() == "dirty\n"; })) << process->err();
    return process;
  }
  std::string CleanRecord() {
    return Execute({"sqlite3", mount_.options().state + "/state.db",
                    "select value from volume where key = 'clean'"})
        .out;
  }
};

TEST_P(MappedStores, AreInTheSourceAfterACleanEnd) {
  for (const int round : {1, 2}) {
    const std::string tag = "round" + std::to_string(round);
    ASSERT_TRUE(mount_.Start());
    const auto one = MapAndStore("one", tag);
    const auto two = MapAndStore("two", tag);
    mount_.process().Signal(SIGTERM);
    EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
    EXPECT_EQ(PagesWith(source_ + "/one", tag), kPages);
    EXPECT_EQ(PagesWith(source_ + "/two", tag), kPages);
    EXPECT_EQ(CleanRecord(), "yes\n");
    DetachBelow(mount_.path());
  }
}

TEST_P(MappedStores, AreInTheSourceAfterALazyUnmountAndACleanEnd) {
  ASSERT_TRUE(mount_.Start());
  const auto one = MapAndStore("one", "lazy");
  ASSERT_EQ(Execute({"umount", "-l", mount_.path()}).code, 0);
  EXPECT_TRUE(mount_.process().running());
  mount_.process().Signal(SIGTERM);
  EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
  EXPECT_EQ(PagesWith(source_ + "/one", "lazy"), kPages);
}

TEST_P(MappedStores, AreInTheSourceWhenTheLastUserOfALazilyUnmountedOneGoes) {
  ASSERT_TRUE(mount_.Start());
  const auto one = MapAndStore("one", "last");
  ASSERT_EQ(Execute({"fusermount3", "-u", "-z", mount_.path()}).code, 0);
  one->Signal(SIGKILL);
  EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
  EXPECT_EQ(PagesWith(source_ + "/one", "last"), kPages);
}

TEST_P(MappedStores, OfARemovedFileHoldUpNothing) {
  ASSERT_TRUE(mount_.Start());
  const auto one = MapAndStore("one", "gone");
  ASSERT_EQ(0, unlink((mount_.path() + "/one").c_str()));
  mount_.process().Signal(SIGTERM);
  EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
}

TEST_P(MappedStores, ThatNeverEndAreSaidWhenTheTimeForEndingIsOver) {
  mount_.options().more.insert(mount_.options().more.end(), {"--stop-timeout", "1"});
  ASSERT_TRUE(mount_.Start());
  const auto one = MapAndStore("quiet", "tag");
  const auto two = MapAndStore("busy", "tag", {"--keep-storing"});
  // One of them may get no processor for as long as a pass takes.
  const auto three = MapAndStore("busy too", "tag", {"--keep-storing"});
  const auto four = MapAndStore("busy as well", "tag", {"--keep-storing"});
  mount_.process().Signal(SIGTERM);
  const auto code = mount_.process().Wait();
  ASSERT_TRUE(code.has_value());
  EXPECT_NE(*code, 0);
  EXPECT_NE(mount_.process().err().find("may be lost, in: busy"), std::string::npos)  // or another
      << mount_.process().err();
  EXPECT_EQ(PagesWith(source_ + "/quiet", "tag"), kPages);
  EXPECT_EQ(PagesWith(source_ + "/busy", "tag"), kPages);
  EXPECT_EQ(CleanRecord(), "no\n");
}

TEST_P(MappedStores, AreOnTheReplicaAfterASync) {
  ASSERT_TRUE(StartBoth());
  const std::string path = mount_.path() + "/file";
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = kPages * page;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_EQ(0, ftruncate(fd, static_cast<off_t>(size)));
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(0, close(fd));
  for (int turn = 0; turn < 5; ++turn) {
    const std::string tag = "turn" + std::to_string(turn);
    for (size_t at = 0; at < size; at += page) {
      std::memcpy(static_cast<char*>(memory) + at, tag.data(), tag.size());
    }
    // Renamed: the file is found all the same.
    const std::string renamed = mount_.path() + "/renamed" + std::to_string(turn % 2);
    ASSERT_EQ(
        0, rename((turn == 0 ? path : mount_.path() + "/renamed" + std::to_string((turn + 1) % 2))
                      .c_str(),
                  renamed.c_str()));
    ASSERT_TRUE(mount_.Sync());
    EXPECT_EQ(PagesWith(replica_.tree() + "/renamed" + std::to_string(turn % 2), tag), kPages)
        << "turn " << turn;
  }
  munmap(memory, size);
}

INSTANTIATE_TEST_SUITE_P(Options, MappedStores, ::testing::Values("", "writeback"),
                         [](const auto& parameter) {
                           return *parameter.param == '\0' ? std::string("Plain")
                                                           : std::string(parameter.param);
                         });

class SyncWithoutReplica : public MountTest {};

TEST_F(SyncWithoutReplica, IsAnError) {
  mount_.options().replicas.clear();
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/file", "text");
  const Outcome outcome = mount_.Tandem("sync", {"--timeout", "5"});
  EXPECT_NE(outcome.code, 0);
  EXPECT_NE(outcome.err.find("no replica"), std::string::npos) << outcome;
}

}  // namespace
}  // namespace tandem::test
