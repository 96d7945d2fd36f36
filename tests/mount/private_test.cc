// Invariant 12, private: what a user may not read on the source, nobody reads through a store, a
// state directory or a log.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

class Invariant12 : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(0, chmod(scratch_.path().c_str(), 0755));
    ASSERT_EQ(0, chmod(source_.c_str(), 0755));
    Write(source_ + "/public", "for all");
    Write(source_ + "/own", "for root");
    ASSERT_TRUE(stdfs::create_directory(source_ + "/closed"));
    Write(source_ + "/closed/secret", "hidden");
    stdfs::copy_file("/bin/true", source_ + "/tool");
    ASSERT_EQ(0, chmod((source_ + "/public").c_str(), 0644));
    ASSERT_EQ(0, chmod((source_ + "/own").c_str(), 0600));
    ASSERT_EQ(0, chmod((source_ + "/closed").c_str(), 0700));
    ASSERT_EQ(0, chmod((source_ + "/closed/secret").c_str(), 0644));
    ASSERT_EQ(0, chmod((source_ + "/tool").c_str(), 04755));
  }
  // With an umask that hides nothing.
  static Launch Openly(std::vector<std::string> command) {
    command.insert(command.begin(), {"sh", "-c", "umask 0; exec \"$@\"", "sh"});
    return Launch{std::move(command)};
  }
  static Outcome ByNobody(std::vector<std::string> command) {
    command.insert(command.begin(),
                   {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"});
    return Execute(std::move(command));
  }
  // All that nobody finds there, and all that it may read of that.
  static std::string Found(const std::string& directory) {
    return ByNobody({"find", directory, "-mindepth", "1", "-printf", "%P\n"}).out;
  }
  static std::string Readable(const std::string& directory) {
    return ByNobody({"find", directory, "-type", "f", "-readable", "-printf", "%P\n"}).out;
  }
};

TEST_F(Invariant12, NobodyReadsAnythingOfAStoreOrOfTheState) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(Converges());
  Write(mount_.path() + "/closed/more", "hidden too");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Found(replica_.store()), "");
  EXPECT_EQ(Found(mount_.options().state), "");
  // By name, if one knows it.
  EXPECT_NE(ByNobody({"cat", replica_.tree() + "/public"}).code, 0);
  EXPECT_NE(ByNobody({"env", replica_.tree() + "/tool"}).code, 0);
  EXPECT_NE(ByNobody({"cat", mount_.options().state + "/state.db"}).code, 0);
}

TEST_F(Invariant12, AnOpenedStoreShowsWhatTheTreesOwnModesShow) {
  replica_.more() = {"--store-mode", "0755"};
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(Converges());
  EXPECT_EQ(ByNobody({"cat", replica_.tree() + "/public"}).out, "for all");
  EXPECT_NE(ByNobody({"cat", replica_.tree() + "/own"}).code, 0);
  EXPECT_NE(ByNobody({"cat", replica_.tree() + "/closed/secret"}).code, 0);
  const std::string volume = replica_.store() + "/" + kVolume;
  EXPECT_EQ(ByNobody({"cat", volume + "/applied"}).code, 0);
  for (const char* name : {"replica.db", "replica.db-wal", "volume"}) {
    EXPECT_NE(ByNobody({"cat", volume + "/" + name}).code, 0) << name;
  }
  EXPECT_NE(ByNobody({"ls", volume + "/stage"}).code, 0);
  // Started again as it is by default: closed.
  ASSERT_TRUE(replica_.Stop());
  replica_.more().clear();
  ASSERT_TRUE(replica_.Start());
  EXPECT_NE(ByNobody({"cat", replica_.tree() + "/public"}).code, 0);
  EXPECT_EQ(Found(replica_.store()), "");
  EXPECT_NE(replica_.process().err().find("mode 0755 is now 0700"), std::string::npos);
}

// As a daemon, whose log is a file; the log and the database are closed even where the directory
// was there and stays open.
TEST_F(Invariant12, TheStateIsClosedWhateverTheUmask) {
  const std::string state = mount_.options().state;
  ASSERT_TRUE(stdfs::create_directory(state));
  ASSERT_EQ(0, chmod(state.c_str(), 0755));
  Write(state + "/notes of the administrator", "public");
  ASSERT_TRUE(replica_.Start());
  std::vector<std::string> command = mount_.Command();
  std::erase(command, "-f");
  const Outcome mounted = Execute(Openly(command));
  ASSERT_EQ(mounted.code, 0) << mounted;
  EXPECT_EQ(mount_.Tandem("sync").code, 0);
  EXPECT_EQ(Readable(state), "notes of the administrator\n");
  EXPECT_TRUE(stdfs::exists(state + "/tandemfs.log"));
  EXPECT_EQ(0, umount2(mount_.path().c_str(), 0));
}

TEST_F(Invariant12, AModeThatLetsOthersWriteIsRefused) {
  for (const char* mode : {"0777", "0775", "0600", "4755", "rwx", "0755x"}) {
    const Outcome outcome = Execute(
        {Program("tandemd"), "--store", scratch_.Path("store"), "--store-mode", mode}, seconds(10));
    EXPECT_EQ(outcome.code, 2) << mode << outcome;
    EXPECT_NE(outcome.err.find("--store-mode"), std::string::npos) << outcome.err;
  }
}

}  // namespace
}  // namespace tandem::test
