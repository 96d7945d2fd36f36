// The spine: mount a directory, change it, find the same tree on the replica.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using EndToEnd = MountTest;

std::vector<std::string> KeysOf(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST_F(EndToEnd, ATreeThatWasThereBeforeIsReplicated) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(SameTrees(source_, mount_.path()));
  EXPECT_TRUE(Converges());
}

TEST_F(EndToEnd, EveryKindOfChangeIsReplicated) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(SameTrees(mount_.path(), source_));
}

TEST_F(EndToEnd, ATreeMadeThroughTheMountIsReplicated) {
  ASSERT_TRUE(StartBoth());
  MakeEveryKind(mount_.path());
  ASSERT_TRUE(Converges());
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(Converges());
}

TEST_F(EndToEnd, ADirectoryMountedOverItselfIsReplicated) {
  MakeEveryKind(source_);
  mount_.options().mountpoint = source_;
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ChangeEveryKind(source_);
  EXPECT_TRUE(Converges());
  ASSERT_TRUE(mount_.Unmount());
  EXPECT_TRUE(SameTrees(source_, replica_.tree()));
}

// Four times as slowly, however the program asks for it. (A busy machine makes fewer cuts still.)
TEST_F(EndToEnd, CutsComeMoreSlowlyWhileProgramsSync) {
  mount_.options().more = {"--interval", "250"};
  ASSERT_TRUE(StartBoth());
  for (const bool asks : {true, false}) {
    const std::string path = mount_.path() + (asks ? "/fsync" : "/dsync");
    const UniqueFd fd(open(path.c_str(), O_CREAT | O_WRONLY | (asks ? 0 : O_DSYNC), 0644));
    ASSERT_TRUE(fd.valid());
    ASSERT_TRUE(mount_.Sync());
    const uint64_t before = mount_.Status()["epoch"];
    const auto begun = Clock::now();
    while (Clock::now() < begun + seconds(2)) {
      ASSERT_EQ(pwrite(fd.get(), "x", 1, 0), 1);
      ASSERT_EQ(asks ? fsync(fd.get()) : 0, 0);
    }
    const uint64_t cuts = uint64_t{mount_.Status()["epoch"]} - before;
    EXPECT_LE(cuts, static_cast<uint64_t>((Clock::now() - begun) / seconds(1)) + 2);
  }
  EXPECT_TRUE(Converges());
}

TEST_F(EndToEnd, StatusHasTheFieldsOfTheContract) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const Json status = mount_.Status();
  for (const char* key :
       {"volume", "source", "mountpoint", "epoch", "pending", "hot_objects", "replicas"}) {
    EXPECT_TRUE(status.contains(key)) << key;
  }
  EXPECT_EQ(status["volume"], kVolume);
  EXPECT_EQ(status["source"], source_);
  EXPECT_EQ(status["mountpoint"], mount_.path());
  EXPECT_GT(status["epoch"], 0);
  EXPECT_TRUE(status["hot_objects"].is_number_unsigned());
  EXPECT_THAT(KeysOf(status["pending"]),
              ::testing::UnorderedElementsAre("bytes", "ranges", "entries", "objects"));
  ASSERT_EQ(status["replicas"].size(), 1u);
  const Json& replica = status["replicas"][0];
  for (const char* key : {"name", "url", "state", "durable_cut", "applied_cut", "lag_seconds",
                          "sent_bytes", "received_bytes", "content", "error"}) {
    EXPECT_TRUE(replica.contains(key)) << key;
  }
  EXPECT_EQ(replica["name"], "one");
  EXPECT_EQ(replica["url"], replica_.url());
  EXPECT_EQ(replica["error"], "");
  EXPECT_GT(replica["applied_cut"], 0);
  EXPECT_GE(replica["durable_cut"], replica["applied_cut"]);
  EXPECT_LT(replica["durable_cut"], status["epoch"]);
  EXPECT_GT(replica["sent_bytes"], 3u << 20);
  EXPECT_GT(replica["received_bytes"], 0);
}

TEST_F(EndToEnd, AQuietMountBecomesCurrentWithNothingPending) {
  ASSERT_TRUE(StartBoth());
  MakeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_TRUE(WaitFor([&] {
    const Json pending = mount_.Status()["pending"];
    return pending == Json{{"bytes", 0}, {"ranges", 0}, {"entries", 0}, {"objects", 0}};
  })) << mount_.Status().dump(2);
  EXPECT_EQ(mount_.ReplicaStatus()["lag_seconds"], 0.0);
  EXPECT_TRUE(WaitFor([&] { return mount_.Status()["hot_objects"] == 0; }));
}

TEST_F(EndToEnd, VerifyFindsAReplicaIdentical) {
  MakeEveryKind(source_);
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ChangeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{}, {"--full"}, {"--hash", "sha256"}, {"--hash", "md5", "dir"}}) {
    const Outcome outcome = mount_.Verify(how);
    EXPECT_EQ(outcome.code, 0) << outcome;
  }
}

TEST_F(EndToEnd, InTheBackgroundItReturnsWhenTheMountIsUsable) {
  ASSERT_TRUE(replica_.Start());
  Write(source_ + "/file", "text");
  std::vector<std::string> command = mount_.Command();
  std::erase(command, "-f");
  const Outcome outcome = Execute(command);
  ASSERT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(Read(mount_.path() + "/file"), "text");
  EXPECT_TRUE(Converges());
  ASSERT_EQ(Execute({"fusermount3", "-u", mount_.path()}).code, 0);
  // Its state directory is free again when it has ended.
  ASSERT_TRUE(WaitFor([&] { return mount_.Status().is_null(); }));
  EXPECT_TRUE(mount_.Start());
}

TEST_F(EndToEnd, SignalsEndTheMountCleanly) {
  for (const int number : {SIGTERM, SIGINT}) {
    ASSERT_TRUE(StartBoth());
    Write(mount_.path() + "/file", std::to_string(number));
    mount_.process().Signal(number);
    EXPECT_EQ(mount_.process().Wait(), 0) << mount_.process().err();
    EXPECT_TRUE(MountsBelow(mount_.path()).empty());
    ASSERT_TRUE(mount_.Start());
    EXPECT_TRUE(Converges());
    ASSERT_TRUE(mount_.Unmount());
    ASSERT_TRUE(replica_.Stop());
  }
}

TEST_F(EndToEnd, WithoutCaptureNothingIsReplicated) {
  ASSERT_TRUE(replica_.Start());
  mount_.options().more = {"--no-capture"};
  mount_.options().replicas = {};
  ASSERT_TRUE(mount_.Start());
  MakeEveryKind(mount_.path());
  EXPECT_TRUE(SameTrees(source_, mount_.path()));
  EXPECT_EQ(mount_.Tandem("sync").code, 2);
  EXPECT_EQ(access(replica_.tree().c_str(), F_OK), -1);
}

}  // namespace
}  // namespace tandem::test
