// What makes no sense is refused: a clear sentence, an exit code that is not 0, nothing left
// mounted.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

using ::testing::HasSubstr;

class BadInput : public MountTest {
 protected:
  void ExpectRefused(const Launch& launch, const std::string& says) {
    const size_t mounted = MountsBelow(scratch_.path()).size();
    const Outcome outcome = Execute(launch, kPatience);
    EXPECT_TRUE(outcome.code == 1 || outcome.code == 2) << outcome;
    EXPECT_THAT(outcome.err, HasSubstr(says));
    EXPECT_THAT(outcome.err, HasSubstr("tandemfs: "));
    EXPECT_EQ(MountsBelow(scratch_.path()).size(), mounted);
  }
  // In the foreground, and in the background, where the error has a longer way to go.
  void ExpectRefused(const Mount& mount, const std::string& says) {
    Launch launch{mount.Command()};
    ExpectRefused(launch, says);
    std::erase(launch.command, "-f");
    ExpectRefused(launch, says);
  }
  void ExpectRefused(const std::string& says) { ExpectRefused(mount_, says); }

  Mount::Options& options() { return mount_.options(); }
};

TEST_F(BadInput, ASourceThatIsNotThereIsRefused) {
  options().source = scratch_.Path("nothing");
  ExpectRefused(options().source + ": No such file or directory");
  EXPECT_FALSE(std::filesystem::exists(options().state));
}

TEST_F(BadInput, ASourceThatIsAFileIsRefused) {
  options().source = scratch_.Path("file");
  Write(options().source, "");
  ExpectRefused(options().source + ": Not a directory");
}

TEST_F(BadInput, AMountpointThatIsNotThereIsRefused) {
  options().mountpoint = scratch_.Path("nothing");
  ExpectRefused(options().mountpoint + ": No such file or directory");
}

TEST_F(BadInput, AMountpointThatIsAFileIsRefused) {
  options().mountpoint = scratch_.Path("file");
  Write(options().mountpoint, "");
  ExpectRefused(options().mountpoint);
}

TEST_F(BadInput, ASourceThatMayNotBeReadIsRefused) {
  // Where the build is may be closed to others.
  const std::string program = scratch_.Path("tandemfs");
  std::filesystem::copy_file(Program("tandemfs"), program);
  ASSERT_EQ(0, chmod(source_.c_str(), 0700));
  ASSERT_EQ(0, chown(options().mountpoint.c_str(), 65534, 65534));
  Launch launch{mount_.Command(), {{"HOME", scratch_.path()}}};
  launch.command[0] = program;
  launch.user = 65534;
  ExpectRefused(launch, source_ + ": Permission denied");
}

TEST_F(BadInput, AStateDirectoryInsideTheSourceIsRefused) {
  options().state = source_ + "/state/deeper";
  ExpectRefused("is inside " + source_);
  options().state = source_;
  ExpectRefused("is inside " + source_);
  options().state = options().mountpoint + "/state";
  ExpectRefused("is inside " + options().mountpoint);
  // By another name, which is no way around.
  std::filesystem::create_directory_symlink(source_, scratch_.Path("link"));
  options().state = scratch_.Path("link/state");
  ExpectRefused("is inside " + source_);
  EXPECT_TRUE(std::filesystem::is_empty(source_));
}

TEST_F(BadInput, AStateDirectoryInsideTheSourceByAnotherWayIsRefused) {
  const std::string other = scratch_.Directory("other");
  ASSERT_EQ(0, mount(source_.c_str(), other.c_str(), nullptr, MS_BIND, nullptr));
  mount_.options().state = other + "/state";
  ExpectRefused("inside");
  EXPECT_FALSE(stdfs::exists(source_ + "/state"));
  ASSERT_EQ(0, umount(other.c_str()));
  stdfs::create_directory_symlink(source_, scratch_.Path("link"));
  mount_.options().state = other + "/missing/../../link/state";
  ExpectRefused("inside");
  EXPECT_FALSE(stdfs::exists(source_ + "/state"));
}

TEST_F(BadInput, AStateDirectoryThatCannotBeWrittenIsRefused) {
  Write(scratch_.Path("file"), "");
  options().state = scratch_.Path("file/state");
  ExpectRefused("Not a directory");
  const std::string read_only = scratch_.Directory("read-only");
  ASSERT_EQ(0, mount("none", read_only.c_str(), "tmpfs", MS_RDONLY, "size=1M")) << strerror(errno);
  options().state = read_only + "/state";
  ExpectRefused("Read-only file system");
  options().state = read_only;
  ExpectRefused("Read-only file system");
}

TEST_F(BadInput, TheStateOfAnotherVolumeIsRefused) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Unmount());
  options().volume = "another";
  ExpectRefused("belongs to volume " + std::string(kVolume));
  options().volume = kVolume;
  EXPECT_TRUE(mount_.Start());
}

TEST_F(BadInput, ASecondMountOfOneSourceIsRefused) {
  ASSERT_TRUE(StartBoth());
  ExpectRefused(Mount(OptionsOf("second")), "source " + source_ + " is already mounted");
  EXPECT_TRUE(Converges());
}

TEST_F(BadInput, ASecondMountWithOneStateIsRefused) {
  ASSERT_TRUE(StartBoth());
  Mount::Options second = OptionsOf("second");
  second.source = scratch_.Directory("another-source");
  second.state = options().state;
  ExpectRefused(Mount(second), "is in use by another tandemfs");
  EXPECT_TRUE(Converges());
}

TEST_F(BadInput, ASecondMountOnOneMountpointIsRefused) {
  ASSERT_TRUE(StartBoth());
  Launch launch{mount_.Command()};
  launch.command[1] = scratch_.Directory("another-source");
  ExpectRefused(launch, "is already mounted on " + options().mountpoint);
  EXPECT_TRUE(Converges());
}

TEST_F(BadInput, ArgumentsThatMakeNoSenseAreRefused) {
  const auto with = [this](std::vector<std::string> more) {
    options().more = std::move(more);
    ExpectRefused(options().more.back());
    options().more = {};
  };
  with({"--interval", "soon"});
  with({"--interval", "-5"});
  with({"--no-such-option"});
  with({"-o", "no_such_option"});
  options().volume = "a/b";
  ExpectRefused("a/b");
  options().volume = "..";
  ExpectRefused("..");
  options().volume = kVolume;
  options().replicas = {"one=ipc:///a", "one=ipc:///b"};
  ExpectRefused("two replicas are called one");
  for (const std::string url : {"foo", "htp://x", "tcp://127.0.0.1", "tcp://host:99999", "tcp://",
                                "tls://", "ipc://relative"}) {
    options().replicas = {"one=" + url};
    ExpectRefused("\"" + url + "\"");
  }
  options().replicas = {"one=tcp://host", "two=tcp://HOST:7447"};
  ExpectRefused("one and two are the same");
  options().replicas = {"one="};
  ExpectRefused("[NAME=]URL");
  ExpectRefused(Launch{{Program("tandemfs")}}, "SOURCE and MOUNTPOINT");
}

TEST_F(BadInput, TheReplicaDaemonRefusesWhatMakesNoSense) {
  const auto expect_refused = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("tandemd"));
    const Outcome outcome = Execute(arguments, kPatience);
    EXPECT_TRUE(outcome.code == 1 || outcome.code == 2) << outcome;
    EXPECT_THAT(outcome.err, HasSubstr("tandemd: "));
    EXPECT_EQ(outcome.out, "");
  };
  const std::string url = "ipc://" + scratch_.Path("socket");
  Write(scratch_.Path("file"), "");
  expect_refused({});
  expect_refused({"--store", scratch_.Path("file"), "--listen", url});
  expect_refused({"--store", scratch_.Path("file/below"), "--listen", url});
  expect_refused({"--store", scratch_.Path("store"), "--listen", "nonsense"});
  for (const char* open_to_all :
       {"tcp://0.0.0.0:17447", "tcp://127.0.0.1:17447", "tcp://[::1]:17447", "ws://0.0.0.0:17447/",
        "tls+tcp://0.0.0.0:17447"}) {
    expect_refused({"--store", scratch_.Path("store"), "--listen", open_to_all});
  }
  expect_refused({"--store", scratch_.Path("store"), "--listen", url, "--no-such-option"});
  expect_refused({"--store", scratch_.Path("store"), "--config", scratch_.Path("nothing")});
  // A store or an address that another daemon uses.
  ASSERT_TRUE(replica_.Start());
  expect_refused({"--store", replica_.store(), "--listen", url});
  expect_refused(
      {"--store", scratch_.Path("store"), "--listen", replica_.url(), "--insecure-plaintext"});
  // Its own source.
  ASSERT_TRUE(mount_.Start());
  expect_refused({"--store", mount_.path() + "/store", "--listen", url});
}

}  // namespace
}  // namespace tandem::test
