// Mounts of a user who is not root: what they show, replicate, and may not see.
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

class AsUser : public MountTest {
 protected:
  static constexpr uid_t kUser = 65'534;  // nobody: fusermount3 asks for a name

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    if (getpwuid(kUser) == nullptr) GTEST_SKIP() << "there is no user nobody";
    ASSERT_EQ(0, chmod(scratch_.path().c_str(), 0755));
    ASSERT_EQ(0, chmod("/dev/fuse", 0666));
    for (const std::string& directory : {source_, mount_.path(), scratch_.Directory("home")}) {
      ASSERT_EQ(0, chown(directory.c_str(), kUser, kUser));
    }
  }
  Launch ByUser(std::vector<std::string> command) {
    Launch launch{std::move(command)};
    launch.user = kUser;
    launch.environment = {{"HOME", scratch_.Path("home")},
                          {"XDG_STATE_HOME", scratch_.Path("home/state")},
                          {"XDG_RUNTIME_DIR", scratch_.Path("home")}};
    return launch;
  }
};

TEST_F(AsUser, AUserMountsADirectoryOfItsOwn) {
  ASSERT_TRUE(replica_.Start());
  const Outcome mounted = Execute(ByUser({Program("tandemfs"), source_, mount_.path(), "--volume",
                                          "own", "--replica", "one=" + replica_.url()}));
  ASSERT_EQ(mounted.code, 0) << mounted;
  const auto by_shell = [&](const std::string& script) {
    return Execute(ByUser({"sh", "-c", "cd " + mount_.path() + " && " + script}));
  };
  EXPECT_EQ(by_shell("echo text > file && mkdir d && mv file d/moved && ln -s d link && "
                     "chmod 2750 d && setfattr -n user.a -v b d/moved && rm -f none && ls -la")
                .code,
            0);
  EXPECT_NE(by_shell("chown 0 d/moved").code, 0);
  EXPECT_TRUE(stdfs::exists(scratch_.Path("home/state/tandemfs/own/state.db")));
  const Outcome synced =
      Execute(ByUser({Program("tandem"), "sync", mount_.path(), "--timeout", "60"}));
  EXPECT_EQ(synced.code, 0) << synced;
  EXPECT_TRUE(SameTrees(source_, replica_.tree("own")));
  // Its own only: not even root sees it.
  EXPECT_NE(0, access((mount_.path() + "/d").c_str(), F_OK));
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(Execute(ByUser({"fusermount3", "-u", mount_.path()})).code, 0);
  EXPECT_TRUE(MountsBelow(mount_.path()).empty());
  // Killed, and mounted again over the dead mount.
  Process daemon(ByUser({Program("tandemfs"), source_, mount_.path(), "-f", "--volume", "own"}));
  ASSERT_TRUE(WaitFor([&] { return by_shell("test -d d").code == 0; })) << daemon.err();
  daemon.Signal(SIGKILL);
  daemon.Wait();
  const Outcome again =
      Execute(ByUser({Program("tandemfs"), source_, mount_.path(), "--volume", "own"}));
  EXPECT_EQ(again.code, 0) << again;
  EXPECT_EQ(by_shell("cat d/moved").out, "text\n");
  EXPECT_EQ(Execute(ByUser({"fusermount3", "-u", mount_.path()})).code, 0);
}

// The kernel reads to fill the pages it caches, which of this file we cannot do for it.
TEST_F(AsUser, AFileOnlyForWritingIsWrittenThroughACacheOfWrites) {
  const Outcome mounted = Execute(ByUser({Program("tandemfs"), source_, mount_.path(), "--volume",
                                          "own", "--no-capture", "-o", "writeback"}));
  ASSERT_EQ(mounted.code, 0) << mounted;
  const Outcome written =
      Execute(ByUser({"sh", "-c",
                      "cd " + mount_.path() +
                          " && printf 'long ago, longer' > drop && chmod 0200 drop && "
                          "printf more > drop && printf ' and more' >> drop && "
                          "printf M | dd of=drop conv=notrunc bs=1 status=none"}));
  EXPECT_EQ(written.code, 0) << written;
  EXPECT_EQ(Read(source_ + "/drop"), "More and more");
  EXPECT_EQ(Execute(ByUser({"fusermount3", "-u", mount_.path()})).code, 0);
}

// Only root can look beneath a mount: the bare directory shows for an instant, and that is a debt.
TEST_F(AsUser, AKilledMountOverItsOwnSourceIsStartedAgainAndEverythingCompared) {
  ASSERT_TRUE(replica_.Start());
  const std::vector<std::string> command = {
      Program("tandemfs"), source_, source_,     "-f",
      "--volume",          "own",   "--replica", "one=" + replica_.url()};
  const auto answers = [&] {
    return Execute(ByUser({Program("tandem"), "sync", source_, "--timeout", "60"})).code == 0;
  };
  const std::string note = scratch_.Path("home/state/tandemfs/own/uncovered");
  {
    Process first(ByUser(command));
    ASSERT_TRUE(WaitFor(answers)) << first.err();
    EXPECT_EQ(Execute(ByUser({"sh", "-c", "echo text >" + source_ + "/file"})).code, 0);
    ASSERT_TRUE(answers());
    first.Signal(SIGKILL);
    first.Wait();
  }
  Process second(ByUser(command));
  ASSERT_TRUE(WaitFor(answers)) << second.err();
  EXPECT_NE(second.err().find("was open to be changed"), std::string::npos) << second.err();
  EXPECT_FALSE(stdfs::exists(note));
  EXPECT_EQ(MountsBelow(source_).size(), 1u);
  second.Signal(SIGTERM);
  EXPECT_EQ(second.Wait(), 0) << second.err();
  // Had it died with the note written, the next start would know.
  Write(note, "");
  ASSERT_EQ(0, chown(note.c_str(), kUser, kUser));
  Process third(ByUser(command));
  ASSERT_TRUE(WaitFor(answers)) << third.err();
  EXPECT_NE(third.err().find("was open to be changed"), std::string::npos) << third.err();
  third.Signal(SIGTERM);
  EXPECT_EQ(third.Wait(), 0) << third.err();
}

// Without the right to open files by their handles, they are reached by their names.
TEST_F(AsUser, StoresThroughMappingsAreOnTheReplicaAfterASync) {
  ASSERT_TRUE(replica_.Start());
  Process daemon(ByUser({Program("tandemfs"), source_, mount_.path(), "-f", "--volume", "own",
                         "--replica", "one=" + replica_.url()}));
  const auto synced = [&] {
    return Execute(ByUser({Program("tandem"), "sync", mount_.path(), "--timeout", "60"})).code == 0;
  };
  ASSERT_TRUE(WaitFor(synced)) << daemon.err();
  Process held(ByUser({Program("tests/map_writer"), mount_.path() + "/mapped", "2000", "stored"}));
  ASSERT_TRUE(WaitFor([&] { return held.out() == "dirty\n"; })) << held.err();
  ASSERT_TRUE(synced());
  const std::string content = Read(replica_.tree("own") + "/mapped");
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  ASSERT_EQ(content.size(), 2000 * page);
  for (size_t at = 0; at < content.size(); at += page) {
    ASSERT_EQ(content.compare(at, 6, "stored"), 0) << "at " << at;
  }
  daemon.Signal(SIGTERM);
  EXPECT_EQ(daemon.Wait(), 0) << daemon.err();
}

TEST_F(AsUser, WhatTheUserMayNotReadHoldsUpNothingElse) {
  const std::string secret = source_ + "/secret";
  const std::string closed = source_ + "/closed";
  Write(secret, "of root");
  ASSERT_EQ(0, chmod(secret.c_str(), 0600));
  ASSERT_TRUE(stdfs::create_directory(closed));
  Write(closed + "/file", "of root too");
  ASSERT_EQ(0, chmod(closed.c_str(), 0700));
  ASSERT_TRUE(replica_.Start());
  const Outcome mounted = Execute(ByUser({Program("tandemfs"), source_, mount_.path(), "--volume",
                                          "own", "--replica", "one=" + replica_.url()}));
  ASSERT_EQ(mounted.code, 0) << mounted;
  const auto status = [&] {
    return Execute(ByUser({Program("tandem"), "status", mount_.path()})).out;
  };
  const auto on_replica = [&](const std::string& name) {
    const std::string path = replica_.tree("own") + "/" + name;
    return stdfs::exists(path) ? Read(path) : "";
  };
  EXPECT_TRUE(WaitFor([&] { return status().find("Permission denied") != std::string::npos; }))
      << status();
  ASSERT_EQ(Execute(ByUser({"sh", "-c", "echo mine > " + mount_.path() + "/mine"})).code, 0);
  EXPECT_TRUE(WaitFor([&] { return on_replica("mine") == "mine\n"; })) << status();
  // What is lacking comes when it may be read.
  ASSERT_EQ(0, chmod(secret.c_str(), 0644));
  ASSERT_EQ(0, chmod(closed.c_str(), 0755));
  EXPECT_TRUE(WaitFor([&] { return on_replica("secret") == "of root"; })) << status();
  EXPECT_TRUE(WaitFor([&] { return on_replica("closed/file") == "of root too"; })) << status();
  // Closed before the cut that has the change could be sent.
  const auto by_user = [&](const std::string& script) {
    return Execute(ByUser({"sh", "-c", "cd " + mount_.path() + " && " + script})).code;
  };
  ASSERT_EQ(Execute(ByUser({Program("tandem"), "pause", mount_.path()})).code, 0);
  ASSERT_EQ(by_user("mkdir own && echo one > own/file && echo two > own/other && chmod 0 own"), 0);
  ASSERT_EQ(Execute(ByUser({Program("tandem"), "resume", mount_.path()})).code, 0);
  EXPECT_TRUE(WaitFor([&] { return status().find("Permission denied") != std::string::npos; }))
      << status();
  ASSERT_EQ(by_user("chmod 755 own"), 0);
  EXPECT_TRUE(WaitFor([&] { return on_replica("own/file") == "one\n"; })) << status();
  EXPECT_TRUE(WaitFor([&] { return on_replica("own/other") == "two\n"; })) << status();
  // The same above a directory that the replica knows; and tried again meanwhile, in vain.
  ASSERT_EQ(by_user("mkdir -p above/known"), 0);
  EXPECT_TRUE(WaitFor([&] { return stdfs::exists(replica_.tree("own") + "/above/known"); }));
  ASSERT_EQ(Execute(ByUser({Program("tandem"), "pause", mount_.path()})).code, 0);
  ASSERT_EQ(by_user("echo three > above/known/file && chmod 0 above"), 0);
  ASSERT_EQ(Execute(ByUser({Program("tandem"), "resume", mount_.path()})).code, 0);
  std::set<std::string> lacking;  // "cut N", of each time
  EXPECT_TRUE(WaitFor([&] {
    const std::string text = status();
    const size_t end = text.find(" lacks ");
    const size_t begin = text.rfind("cut ", end);
    if (end != std::string::npos) lacking.insert(text.substr(begin, end - begin));
    return lacking.size() >= 3;
  })) << status();
  ASSERT_EQ(by_user("chmod 755 above"), 0);
  EXPECT_TRUE(WaitFor([&] { return on_replica("above/known/file") == "three\n"; })) << status();
  EXPECT_EQ(Execute(ByUser({"fusermount3", "-u", mount_.path()})).code, 0);
}

}  // namespace
}  // namespace tandem::test
