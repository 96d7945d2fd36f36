// A replica that is reached through ssh: ssh://HOST/SOCKET.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"
#include "tests/ssh_server.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ThroughSsh : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    if (!SshServer::IsInstalled()) GTEST_SKIP() << "sshd is not there: install openssh-server";
    replica_.more() = {"--listen", "ipc://" + socket_};
    mount_.options().replicas = {"one=" + url_};
    mount_.options().environment = server_.ClientEnvironment();
  }

  ::testing::AssertionResult StartAll() {
    if (auto started = server_.Start(); !started) return started;
    if (auto started = StartBoth(); !started) return started;
    return mount_.Sync();
  }
  // Status of the replica says so, within the time that a first attempt takes.
  ::testing::AssertionResult Says(const std::string& words) {
    std::string error;
    const bool said = WaitFor(
        [&] {
          error = mount_.ReplicaError();
          return error.find(words) != std::string::npos;
        },
        seconds(20));
    if (said && mount_.State() == "connecting") return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << mount_.State() << ": " << error << "\n"
                                         << mount_.process().err() << server_.log();
  }

  const std::string socket_ = scratch_.Path("tandemd.sock");
  const std::string url_ = "ssh://backup" + socket_;
  SshServer server_{scratch_};
};

TEST_F(ThroughSsh, AMountConvergesAndVerifiesIdentical) {
  Write(source_ + "/before", RandomBytes(3 << 20));
  ASSERT_TRUE(StartAll());
  std::filesystem::create_directory(mount_.path() + "/directory");
  for (int i = 0; i < 50; ++i) {
    Write(mount_.path() + "/directory/" + std::to_string(i), RandomBytes(10'000));
  }
  Write(mount_.path() + "/large", RandomBytes(20 << 20));
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_EQ(mount_.ReplicaStatus()["url"], url_);
  EXPECT_EQ(server_.Clients().size(), 1u);
}

TEST_F(ThroughSsh, AKeyMayBeRestrictedToTheRelay) {
  server_.LetIn("restrict,command=\"" + Program("tandemd") + " relay --socket " + socket_ + "\"");
  mount_.options().replicas = {"one=ssh://backup"};
  ASSERT_TRUE(StartAll());
  Write(mount_.path() + "/file", "content");
  EXPECT_TRUE(Converges());
}

TEST_F(ThroughSsh, WhenSshdComesBackItIsConnectedWithinSeconds) {
  ASSERT_TRUE(StartAll());
  server_.Kill();
  Write(mount_.path() + "/file", RandomBytes(1 << 20));
  EXPECT_TRUE(Says("Connection refused"));
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr(url_ + ": ssh: connect to host 127.0.0.1 port " +
                                               std::to_string(server_.port())));
  ASSERT_TRUE(server_.Start());
  const auto since = Clock::now();
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_LT(Clock::now() - since, seconds(12)) << mount_.process().err();
  EXPECT_TRUE(Converges());
}

TEST_F(ThroughSsh, WhenTandemdIsGoneItIsToldAndFoundAgain) {
  ASSERT_TRUE(StartAll());
  ASSERT_TRUE(replica_.Stop());
  Write(mount_.path() + "/file", RandomBytes(1 << 20));
  EXPECT_TRUE(Says("tandemd relay: connect to " + socket_ + " (is tandemd running on this host?)"));
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
}

TEST_F(ThroughSsh, AKeyThatIsNotLetInIsToldInSshsWords) {
  server_.LetNobodyIn();
  ASSERT_TRUE(server_.Start());
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(Says("Permission denied (publickey)"));
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr("authorized_keys"));
  EXPECT_THAT(mount_.ReplicaError(), Not(HasSubstr("\n")));
}

TEST_F(ThroughSsh, AChangedHostKeyIsToldAndNothingIsSent) {
  ASSERT_TRUE(StartAll());
  server_.Kill();
  server_.ChangeHostKey();
  ASSERT_TRUE(server_.Start());
  EXPECT_TRUE(Says("Host key verification failed"));
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr("ssh-keygen -R HOST"));
}

TEST_F(ThroughSsh, AHostWithoutTheProgramIsTold) {
  server_.SetPath("/usr/bin:/bin");
  ASSERT_TRUE(server_.Start());
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(Says("is tandemd installed there"));
}

TEST_F(ThroughSsh, AMissingClientIsTold) {
  mount_.options().environment = {{"TANDEM_SSH", scratch_.Path("no-ssh")}};
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(Says("start " + scratch_.Path("no-ssh")));
}

TEST_F(ThroughSsh, NoSshIsLeftBehind) {
  ASSERT_TRUE(StartAll());
  ASSERT_EQ(server_.Clients().size(), 1u);
  const std::vector<pid_t> clients = server_.Clients();
  ASSERT_TRUE(mount_.Unmount());
  EXPECT_THAT(server_.Clients(), IsEmpty()) << "after a clean end";

  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(WaitFor([&] { return !server_.Clients().empty(); }));
  ASSERT_TRUE(mount_.WaitForState("current"));
  mount_.Kill();
  EXPECT_TRUE(WaitFor([&] { return server_.Clients().empty(); }, seconds(10))) << "after kill -9";
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
