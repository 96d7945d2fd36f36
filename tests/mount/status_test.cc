// What a script, and a person, can see from the outside: tandem status and its exit codes, tandem
// sync that waits, and what is said of a command line that makes no sense.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class StatusTells : public MountTest {
 protected:
  static Outcome OfAll(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {Program("tandem"), "status"});
    return Execute(std::move(arguments));
  }
  // What the list of all mounts has of one; null if it is not in it.
  static Json Listed(const Outcome& all, const std::string& mountpoint) {
    for (const Json& mount : Json::parse(all.out, nullptr, /*allow_exceptions=*/false)) {
      if (mount.value("mountpoint", "") == mountpoint) return mount;
    }
    return nullptr;
  }
};

TEST_F(StatusTells, OfADeadMount) {
  ASSERT_TRUE(mount_.Start());
  EXPECT_EQ(mount_.Tandem("status").code, 0);
  EXPECT_EQ(mount_.Status().value("mount", ""), "live");
  mount_.Kill();
  for (const std::string& at : {mount_.path(), mount_.path() + "/file"}) {
    const Outcome one = Execute({Program("tandem"), "status", at});
    EXPECT_EQ(one.code, 4) << one;
    EXPECT_THAT(one.out, HasSubstr(source_ + " on " + mount_.path() + ": dead"));
  }
  EXPECT_GE(OfAll().code, 4);
  EXPECT_THAT(OfAll().out, HasSubstr(mount_.path() + ": dead"));
  const Json listed = Listed(OfAll({"--json"}), mount_.path());
  EXPECT_EQ(listed.value("mount", ""), "dead") << listed;
  EXPECT_EQ(listed.value("source", ""), source_);
  // Also where somebody has cleared /run.
  ASSERT_EQ(0, unlink(listed.value("socket", "").c_str()));
  EXPECT_EQ(mount_.Tandem("status").code, 4);
  ASSERT_TRUE(mount_.Start());
  EXPECT_EQ(mount_.Tandem("status").code, 0);
  EXPECT_EQ(Listed(OfAll({"--json"}), mount_.path()).value("mount", ""), "live");
}

TEST_F(StatusTells, OfAStuckMountWithoutWaitingForItAlone) {
  Mount::Options options = OptionsOf("mount2");
  options.source = scratch_.Directory("source2");
  options.volume = "other";
  Mount stuck(options);
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(stuck.Start());
  ASSERT_EQ(0, mkdir((stuck.path() + "/directory").c_str(), 0755));
  Write(stuck.path() + "/directory/file", "text");
  stuck.process().Signal(SIGSTOP);
  ASSERT_TRUE(WaitFor([&] { return stuck.process().stopped(); }));
  const auto begin = Clock::now();
  const Outcome all = OfAll({"--json"});
  EXPECT_LT(Clock::now() - begin, seconds(20));
  EXPECT_EQ(all.code, 5);
  EXPECT_EQ(Listed(all, mount_.path()).value("mount", ""), "live");
  EXPECT_EQ(Listed(all, stuck.path()).value("mount", ""), "stuck") << all;
  EXPECT_EQ(Listed(all, stuck.path()).value("source", ""), options.source);
  EXPECT_EQ(mount_.Tandem("status").code, 0);
  for (const std::string& at : {stuck.path(), stuck.path() + "/directory/file"}) {
    EXPECT_EQ(Execute({Program("tandem"), "status", at}, kPatience).code, 5) << at;
  }
  stuck.process().Signal(SIGCONT);
}

TEST_F(StatusTells, NothingIsDeadThatIsShownInASecondPlace) {
  ASSERT_TRUE(mount_.Start());
  const std::string second = scratch_.Directory("second");
  ASSERT_EQ(0, mount(mount_.path().c_str(), second.c_str(), nullptr, MS_BIND, nullptr));
  EXPECT_THAT(OfAll().out, Not(HasSubstr(second)));
  EXPECT_EQ(Listed(OfAll({"--json"}), mount_.path()).value("mount", ""), "live");
}

TEST_F(StatusTells, NothingIsWellThatCannotBeSaid) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const std::string on_mount = " " + mount_.path() + " ";
  const std::vector<std::string> commands = {
      "tandem status",    "tandem status --json",     "tandem status" + on_mount,
      "tandem --help",    "tandem verify" + on_mount, "tandem verify --json" + on_mount,
      "tandem --version", "tandem status --help",     "tandemfs --help",
      "tandemd --version"};
  for (const std::string& command : commands) {
    const Outcome outcome = Execute({"sh", "-c", "exec " + Program("") + command + " > /dev/full"});
    EXPECT_NE(outcome.code, 0) << command;
    EXPECT_THAT(outcome.err, HasSubstr("write the output")) << command;
  }
}

TEST_F(StatusTells, SyncSaysAtOnceWhomItWaitsFor) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  Write(mount_.path() + "/file", "text");
  Process sync(Launch{{Program("tandem"), "sync", mount_.path()}});
  EXPECT_TRUE(
      WaitFor([&] { return sync.err().find("waiting for replica one") != std::string::npos; }));
  EXPECT_THAT(sync.err(), HasSubstr("paused"));
  EXPECT_TRUE(sync.running());
  replica_.Kill();
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(WaitFor([&] { return sync.err().find("unreachable") != std::string::npos; }));
  ASSERT_TRUE(replica_.Start());
  EXPECT_EQ(sync.Wait(), 0);
  const std::string said = sync.err();
  EXPECT_EQ(said.find("paused"), said.rfind("paused")) << "once: " << said;
}

TEST_F(StatusTells, WhatIsWrongWithACommandLine) {
  const auto refused = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("tandem"));
    const Outcome outcome = Execute(std::move(arguments));
    EXPECT_EQ(outcome.code, 2) << outcome;
    return outcome.err;
  };
  EXPECT_THAT(refused({"stauts"}),
              HasSubstr("no command is called 'stauts': did you mean 'status'?"));
  EXPECT_THAT(refused({"snyc", mount_.path()}), HasSubstr("did you mean 'sync'?"));
  EXPECT_THAT(refused({"replicate"}), HasSubstr("no command is called 'replicate'"));
  EXPECT_THAT(refused({"status", "--jsno"}), HasSubstr("--jsno"));
  for (const std::string time : {"-1", "nan", "1e300", "soon", "5w"}) {
    EXPECT_THAT(refused({"sync", mount_.path(), "--timeout=" + time}), HasSubstr("500ms")) << time;
  }
}

}  // namespace
}  // namespace tandem::test
