// Settings of a running mount: its replicas, pauses with an end, limits, and its configuration
// file.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;

class Settings : public MountTest {
 protected:
  std::string At(const std::string& name) const { return mount_.path() + "/" + name; }
  ::testing::AssertionResult Replica(const std::string& command,
                                     std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), mount_.path());
    const Outcome done = RunTandem("replica", command, arguments);
    if (done.code == 0) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << done;
  }
  static Outcome RunTandem(const std::string& command, const std::string& subcommand,
                           std::vector<std::string> arguments) {
    std::vector<std::string> all = {Program("tandem"), command, subcommand};
    std::ranges::move(arguments, std::back_inserter(all));
    return Execute(all);
  }
  size_t Replicas() { return mount_.Status()["replicas"].size(); }

  ReplicaDaemon other_{scratch_, "other"};
};

TEST_F(Settings, AReplicaThatIsAddedIsFilledWhileWorkGoesOn) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(other_.Start());
  Write(At("before"), "text");
  ASSERT_TRUE(Replica("add", {"other=" + other_.url()}));
  Write(At("after"), "more");
  ASSERT_TRUE(test::Converges(mount_, other_, "other"));
  ASSERT_TRUE(Converges());
  const Outcome twice = RunTandem("replica", "add", {mount_.path(), "third=" + other_.url()});
  EXPECT_EQ(twice.code, 2);
  EXPECT_THAT(twice.err, HasSubstr("replica other is at " + other_.url() + " already"));
  // It is remembered.
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas.clear();
  ASSERT_TRUE(mount_.Start());
  EXPECT_EQ(Replicas(), 2u);
  ASSERT_TRUE(test::Converges(mount_, other_, "other"));
}

TEST_F(Settings, AReplicaThatIsRemovedIsOwedNothing) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(Replica("add", {"away=tcp://127.0.0.1:" + std::to_string(FreePort())}));
  Write(At("file"), std::string(1 << 20, 'x'));
  ASSERT_TRUE(mount_.Sync(120, "one"));
  EXPECT_GT(mount_.Status()["pending"]["objects"], 0);
  ASSERT_TRUE(Replica("remove", {"away"}));
  EXPECT_EQ(Replicas(), 1u);
  EXPECT_TRUE(WaitFor([&] { return mount_.Status()["pending"]["objects"] == 0; }));
  EXPECT_EQ(RunTandem("replica", "remove", {mount_.path(), "away"}).code, 2);
  mount_.Kill();
  mount_.options().replicas.clear();
  ASSERT_TRUE(mount_.Start());
  EXPECT_EQ(Replicas(), 1u);
  EXPECT_TRUE(Converges());
}

TEST_F(Settings, WithoutAnyReplicaChangesAreKeptUntilThereIsOne) {
  ASSERT_TRUE(StartBoth());
  const std::string name = mount_.ReplicaStatus()["name"];
  ASSERT_TRUE(Replica("remove", {name}));
  EXPECT_EQ(Replicas(), 0u);
  Write(At("file"), "text");
  ASSERT_TRUE(Replica("add", {name + "=" + replica_.url()}));
  EXPECT_TRUE(Converges());
}

TEST_F(Settings, AReplicaWithAnotherNameOrUrlGoesOnFromItsCut) {
  ASSERT_TRUE(StartBoth());
  Write(At("large"), RandomBytes(4 << 20, 1));
  ASSERT_TRUE(mount_.Sync());
  const std::string name = mount_.ReplicaStatus()["name"];
  ASSERT_TRUE(Replica("rename", {name, "new name"}));
  ASSERT_EQ(mount_.ReplicaStatus()["name"], "new name");
  // The same store, elsewhere.
  ASSERT_TRUE(replica_.Stop());
  replica_.Move({}, "tcp://127.0.0.1:" + std::to_string(FreePort()));
  ASSERT_TRUE(replica_.Start());
  Write(At("small"), "text");
  ASSERT_TRUE(Replica("set-url", {"new name", replica_.url()}));
  ASSERT_TRUE(test::Converges(mount_, replica_, "new name"));
  EXPECT_LT(mount_.SentBytes(), 1u << 20) << "what it has is not sent again";
  EXPECT_FALSE(Replica("rename", {"nobody", "x"}));
}

TEST_F(Settings, APauseEndsByItselfAlsoAfterARestart) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("pause", {"--for", "6s"}).code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  EXPECT_GT(mount_.ReplicaStatus()["paused_until"], 0);
  Write(At("file"), "text");
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(mount_.Start());
  EXPECT_EQ(mount_.State(), "paused");
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_TRUE(Converges());
}

TEST_F(Settings, ALimitIsKeptTo) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("set", {"--bwlimit", "1M"}).code, 0);
  EXPECT_EQ(mount_.ReplicaStatus()["bwlimit"], "1M");
  const auto begun = std::chrono::steady_clock::now();
  Write(At("file"), RandomBytes(3 << 20, 1));
  ASSERT_TRUE(mount_.Sync());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  EXPECT_GT(took.count(), 2);
  // It is lifted while bytes wait for it.
  ASSERT_EQ(mount_.Tandem("set", {"--bwlimit", "64K"}).code, 0);
  Write(At("other"), RandomBytes(8 << 20, 2));
  ASSERT_TRUE(WaitFor([&] { return mount_.ReplicaStatus()["pending"]["bytes"] > 0; }));
  ASSERT_EQ(mount_.Tandem("set", {"--bwlimit", "0"}).code, 0);
  EXPECT_TRUE(mount_.Sync(20));
  const Outcome wrong = mount_.Tandem("set", {"--bwlimit", "25:00-26:00=1M"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("is no span of the day"));
}

// Chunks are then smaller than a small file.
TEST_F(Settings, SmallFilesArriveWholeOverANarrowLink) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("set", {"--bwlimit", "100K"}).code, 0);
  for (const size_t bytes : {size_t{40'000}, size_t{60 << 10}, size_t{65'535}}) {
    Write(At("file" + std::to_string(bytes)), RandomBytes(bytes, bytes));
  }
  // Those that replace others, too.
  Write(At("new"), RandomBytes(50'000, 7));
  std::filesystem::rename(At("new"), At("file40000"));
  EXPECT_TRUE(Converges());
}

TEST_F(Settings, APauseIsHeardWhileBytesWaitForTheLimit) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("set", {"--bwlimit", "4K"}).code, 0);
  Write(At("file"), RandomBytes(1 << 20, 1));
  ASSERT_TRUE(WaitFor([&] { return mount_.SentBytes() > 16'000; }));
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  EXPECT_TRUE(mount_.WaitForState("paused"));
  ASSERT_EQ(mount_.Tandem("set", {"--bwlimit", "0"}).code, 0);
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(Converges());
}

// While another replica finishes its first copy.
TEST_F(Settings, ReplicasMayComeAndGoQuickly) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(other_.Start());
  for (int i = 0; i < Times(15, 200); ++i) {
    ASSERT_TRUE(Replica("add", {"other=" + other_.url()}));
    Write(At("file" + std::to_string(i)), "text");
    ASSERT_TRUE(Replica("rename", {"other", "another"}));
    ASSERT_TRUE(mount_.Sync(60, i % 3 == 0 ? "another" : "one"));
    ASSERT_TRUE(Replica("remove", {"another"}));
  }
  ASSERT_TRUE(Replica("add", {"other=" + other_.url()}));
  EXPECT_TRUE(test::Converges(mount_, other_, "other"));
  EXPECT_TRUE(Converges());
}

// ---- The configuration file
// ----------------------------------------------------------------------

class Configured : public Settings {
 protected:
  void SetUp() override {
    Settings::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(replica_.Start());
  }
  void Configure(const std::string& more) const {
    const Mount::Options options = OptionsOf("mount");
    Write(directory_ + "/volume.toml", "source = \"" + options.source + "\"\nmountpoint = \"" +
                                           options.mountpoint + "\"\nstate = \"" + options.state +
                                           "\"\n" + more);
  }
  void TearDown() override {
    // After a failure.
    Execute({"umount", "-l", "-q", OptionsOf("mount").mountpoint});
    Settings::TearDown();
  }
  // tandemfs as mount(8) and a unit call it.
  Outcome Tandemfs(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"env", "TANDEM_CONFIG_DIR=" + directory_, Program("tandemfs")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Execute(all);
  }
  void ExpectBad(const std::string& more, const std::string& why) const {
    Configure(more);
    const Outcome checked = Tandemfs({"volume", "--check-config"});
    EXPECT_NE(checked.code, 0) << more;
    EXPECT_THAT(checked.err, HasSubstr(directory_ + "/volume.toml"));
    EXPECT_THAT(checked.err, HasSubstr(why));
  }

  const std::string directory_ = scratch_.Directory("config");
};

TEST_F(Configured, AVolumeIsMountedByItsName) {
  Configure("replica = \"replica=" + replica_.url() + "\"\ninterval = 7\n");
  ASSERT_EQ(Tandemfs({"volume", "--check-config"}).code, 0);
  const Outcome mounted = Tandemfs({"volume"});
  ASSERT_EQ(mounted.code, 0) << mounted;
  Write(At("file"), "text");
  EXPECT_TRUE(mount_.Sync());
  EXPECT_EQ(mount_.Status()["interval_ms"], 7);
  EXPECT_EQ(mount_.Status()["volume"], "volume");
  // Changes of the file are applied without unmounting.
  ASSERT_TRUE(other_.Start());
  Configure("replica = [\"replica=" + replica_.url() + "\", \"other=" + other_.url() +
            "\"]\ninterval = \"8\"\nbwlimit = \"50M\"\nstop-timeout = 5\n");
  const Outcome reloaded = mount_.Tandem("reload");
  EXPECT_EQ(reloaded.code, 0) << reloaded;
  EXPECT_THAT(reloaded.out, HasSubstr("replica other was added"));
  EXPECT_THAT(reloaded.out, HasSubstr("stop-timeout: from the next start on"));
  EXPECT_EQ(mount_.Status()["interval_ms"], 8);
  EXPECT_EQ(mount_.ReplicaStatus()["bwlimit"], "50M");
  EXPECT_TRUE(test::Converges(mount_, other_, "other"));
  // What was changed by other means stays; what has another name goes on from its cut.
  ASSERT_TRUE(Replica("add", {"third=tcp://127.0.0.1:" + std::to_string(FreePort())}));
  Configure("replica = [\"renamed=" + replica_.url() + "\"]\ninterval = 8\n");
  const Outcome renamed = mount_.Tandem("reload");
  EXPECT_THAT(renamed.out, HasSubstr("replica replica is called renamed"));
  EXPECT_THAT(renamed.out, HasSubstr("replica other was removed"));
  EXPECT_EQ(Replicas(), 2u);
  EXPECT_FALSE(mount_.ReplicaStatus().contains("bwlimit")) << "that of the file is gone";
  // A file that cannot be used changes nothing.
  Configure("replica = 7.5\ninterval = 9\n");
  EXPECT_NE(mount_.Tandem("reload").code, 0);
  EXPECT_EQ(mount_.Status()["interval_ms"], 8);
  EXPECT_EQ(Replicas(), 2u);
  EXPECT_EQ(Execute({"umount", mount_.path()}).code, 0);
}

TEST_F(Configured, TheCommandLineOverridesTheFile) {
  Configure("replica = \"replica=" + replica_.url() +
            "\"\ninterval = 7\nvolume = \"of file\"\noptions = \"bwlimit=3M,max_changes=9\"\n");
  const Outcome mounted = Tandemfs({"volume", "--interval", "9", "--volume", "volume", "-o",
                                    "bwlimit=08:00-18:00=2M\\,*=4M,interval=8"});
  ASSERT_EQ(mounted.code, 0) << mounted;
  EXPECT_EQ(mount_.Status()["interval_ms"], 9);
  EXPECT_EQ(mount_.Status()["volume"], "volume");
  EXPECT_EQ(mount_.ReplicaStatus()["bwlimit"], "08:00-18:00=2M,*=4M");
  EXPECT_EQ(Execute({"umount", mount_.path()}).code, 0);
}

TEST_F(Configured, AFileThatIsWrongIsNamedWithLineAndKey) {
  ExpectBad("intervall = 7\n", "line 4: there is no setting intervall: did you mean interval?");
  ExpectBad("interval = [7]\n", "line 4: interval has a value of another kind");
  ExpectBad("interval = \"soon\"\n", "volume.toml:4: interval: ");
  ExpectBad("interval = 7\ninterval = 8\n", "line 5");
  ExpectBad("no-capture = \"yes\"\n", "true or false is expected");
  ExpectBad("replica = [1, [2]]\n", "a string, or a list of them");
  ExpectBad("bwlimit = \"fast\"\n", "has no rate");
  ExpectBad("log-level = \"loud\"\n", "debug, info, warning or error");
  ExpectBad("[section]\n", "there is no setting section");
  ExpectBad("\t=", "line 4");
  ExpectBad(std::string((1 << 20) + 1, '#'), "more than 1 MiB");
  Configure("");
  ASSERT_EQ(chmod((directory_ + "/volume.toml").c_str(), 0666), 0);
  EXPECT_THAT(Tandemfs({"volume"}).err, HasSubstr("every user may write to it"));
  const Outcome none = Tandemfs({"other"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("or a VOLUME for which there is " + directory_));
}

TEST_F(Configured, AFileWithAByteOrderMarkOrTabsIsRead) {
  Configure("\n\treplica\t=\t\"replica=" + replica_.url() + "\"\t# tab\r\n");
  const std::string path = directory_ + "/volume.toml";
  Write(path, "\xef\xbb\xbf" + Read(path));
  EXPECT_EQ(Tandemfs({"volume", "--check-config"}).code, 0);
}

}  // namespace
}  // namespace tandem::test
