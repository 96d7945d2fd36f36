// Connections through a program that stands in for ssh.
#include "replica/transport/ssh_tunnel.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/files.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::replica {
namespace {

using test::Clock;
using test::seconds;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

UniqueFd Connect(const std::string& url) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = url.substr(url.find('/') + 2);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.Reset();
  return fd;
}

// Reads until the end, which must come soon.
std::string ReadToTheEnd(const UniqueFd& fd) {
  const timeval patience = {20, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::string text;
  char bytes[256];
  ssize_t count = 0;
  // The end of a child that posix_spawn has not yet returned for interrupts a read with a timeout,
  // although nothing handles SIGCHLD: the thread that is its parent still blocks all signals.
  while ((count = read(fd.get(), bytes, sizeof bytes)) > 0 || (count < 0 && errno == EINTR)) {
    text.append(bytes, static_cast<size_t>(std::max<ssize_t>(count, 0)));
  }
  return count == 0 ? text : text + " and no end";
}

class SshTunnelTest : public testing::Test {
 protected:
  SshTunnelTest() {
    setenv("TANDEM_SSH", program_.c_str(), 1);
    StandIn("exec cat");
    tunnel_ = SshTunnel::Open(ParseSshUrl("ssh://user@host:1/run/x.sock").value()).value();
  }
  ~SshTunnelTest() override { unsetenv("TANDEM_SSH"); }

  void StandIn(const std::string& script) {
    // Another file each time: one that runs cannot be written to.
    test::Write(program_ + ".new", "#!/bin/sh\necho $$ >>" + pids_ + "\n" + script + "\n");
    chmod((program_ + ".new").c_str(), 0755);
    std::filesystem::rename(program_ + ".new", program_);
  }
  std::vector<pid_t> Started() const {
    std::vector<pid_t> pids;
    if (!std::filesystem::exists(pids_)) return pids;
    std::istringstream text(test::Read(pids_));
    for (pid_t pid = 0; text >> pid;) pids.push_back(pid);
    return pids;
  }
  static bool IsRunning(pid_t pid) { return kill(pid, 0) == 0; }

  const test::Scratch scratch_;
  const std::string program_ = scratch_.Path("ssh");
  const std::string pids_ = scratch_.Path("pids");
  std::unique_ptr<SshTunnel> tunnel_;
};

TEST_F(SshTunnelTest, AConnectionIsCarriedBothWaysAndEndsTheProgramWithIt) {
  UniqueFd fd = Connect(tunnel_->local_url());
  ASSERT_TRUE(fd.valid());
  ASSERT_EQ(write(fd.get(), "hello", 5), 5);
  char bytes[5];
  ASSERT_EQ(recv(fd.get(), bytes, sizeof bytes, MSG_WAITALL), 5);
  EXPECT_EQ(std::string(bytes, 5), "hello");
  const pid_t pid = Started().at(0);
  EXPECT_TRUE(IsRunning(pid));
  fd.Reset();
  EXPECT_TRUE(test::WaitFor([pid] { return !IsRunning(pid); }));
}

TEST_F(SshTunnelTest, ThePeerSeesTheEndWhenTheProgramEnds) {
  StandIn("echo out; echo 'ssh: Connection refused' >&2; exit 255");
  const UniqueFd fd = Connect(tunnel_->local_url());
  EXPECT_EQ(ReadToTheEnd(fd), "out\n");
  EXPECT_TRUE(test::WaitFor([this] { return !tunnel_->Trouble().empty(); }));
  EXPECT_THAT(tunnel_->Trouble(),
              HasSubstr("ssh://user@host:1/run/x.sock: ssh: Connection refused"));
}

TEST_F(SshTunnelTest, PausesGrowBetweenAttempts) {
  StandIn("echo x >&2; exit 255");
  const auto begun = Clock::now();
  while (Started().size() < 3) {
    ReadToTheEnd(Connect(tunnel_->local_url()));
    // Its output ends a moment before it does. Who dials in between ends it, without a pause.
    const std::vector<pid_t> pids = Started();
    ASSERT_TRUE(test::WaitFor([&pids] { return pids.empty() || !IsRunning(pids.back()); }));
  }
  EXPECT_GE(Clock::now() - begun, seconds(3)) << "1 s and 2 s";
  EXPECT_LT(Clock::now() - begun, seconds(8));
}

TEST_F(SshTunnelTest, ANewConnectionEndsTheOneBefore) {
  const UniqueFd first = Connect(tunnel_->local_url());
  ASSERT_TRUE(test::WaitFor([this] { return Started().size() == 1; }));
  const UniqueFd second = Connect(tunnel_->local_url());
  EXPECT_EQ(ReadToTheEnd(first), "");
  ASSERT_TRUE(test::WaitFor([this] { return Started().size() == 2; }));
  EXPECT_FALSE(IsRunning(Started()[0]));
  EXPECT_TRUE(IsRunning(Started()[1]));
}

TEST_F(SshTunnelTest, NoOtherProcessIsLetIn) {
  const std::string path = tunnel_->local_url().substr(6);
  const pid_t child = fork();
  if (child == 0) {
    const UniqueFd fd = Connect(tunnel_->local_url());
    char byte = 0;
    _exit(fd.valid() && read(fd.get(), &byte, 1) == 0 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Started().empty());
  struct stat directory = test::Lstat(std::filesystem::path(path).parent_path());
  EXPECT_EQ(directory.st_mode & 07777U, 0700U);
}

TEST_F(SshTunnelTest, TheProgramHasNoDescriptorsOrSignalsOfOurs) {
  StandIn("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status; pwd");
  sigset_t signals;
  sigfillset(&signals);
  sigset_t before;
  const auto ignored = signal(SIGPIPE, SIG_IGN);
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  const int leaky = dup(STDERR_FILENO);                                  // not closed on exec
  tunnel_ = SshTunnel::Open(ParseSshUrl("ssh://host").value()).value();  // a thread that blocks all
  const std::string said = ReadToTheEnd(Connect(tunnel_->local_url()));
  close(leaky);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal(SIGPIPE, ignored);
  EXPECT_THAT(said, StartsWith("0 1 2 3 SigBlk:\t0000000000000000\n"));  // 3: ls's own
  EXPECT_THAT(said, EndsWith("\n/\n"));
  constexpr uint64_t kOfPrograms = 0x7fff'ffff;  // the others are glibc's
  const uint64_t ignoring = std::stoull(said.substr(said.find("SigIgn:") + 7), nullptr, 16);
  EXPECT_EQ(ignoring & kOfPrograms, 0u) << said;
}

TEST_F(SshTunnelTest, NothingIsLeftAtTheEnd) {
  StandIn("trap '' TERM; sleep 1000 & wait");  // does not end by itself, and has a child
  const UniqueFd fd = Connect(tunnel_->local_url());
  ASSERT_TRUE(test::WaitFor([this] { return !Started().empty(); }));
  const pid_t pid = Started()[0];
  ASSERT_TRUE(IsRunning(pid));
  const std::filesystem::path directory =
      std::filesystem::path(tunnel_->local_url().substr(6)).parent_path();
  EXPECT_TRUE(std::filesystem::exists(directory));
  tunnel_.reset();
  EXPECT_FALSE(IsRunning(pid));
  EXPECT_TRUE(test::WaitFor([pid] { return !IsRunning(-pid); })) << "its group";
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(PrivateListener, RemovesWhatAKilledProcessLeftBehindAndNothingElse) {
  const test::Scratch scratch;
  const std::vector<std::string> parents = {scratch.Path("not-there"), scratch.path()};
  const auto first = PrivateListener::Make(parents);
  ASSERT_TRUE(first);
  const pid_t child = fork();
  if (child == 0) {
    const auto listener = PrivateListener::Make(parents);
    _exit(listener ? 0 : 1);  // without the destructor
  }
  int status = -1;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  std::filesystem::create_directory(scratch.Path("another"));
  const auto names = [&scratch] {
    return std::distance(std::filesystem::directory_iterator(scratch.path()),
                         std::filesystem::directory_iterator());
  };
  EXPECT_EQ(names(), 3);
  const auto second = PrivateListener::Make(parents);
  EXPECT_EQ(names(), 3) << "that of the child has given way to the second";
  EXPECT_TRUE(Connect("ipc://" + first->path()).valid());
  EXPECT_TRUE(Connect("ipc://" + second->path()).valid());
}

TEST(SshArguments, AreFixedExceptForWhatTheUrlSays) {
  const auto all = SshArguments(ParseSshUrl("ssh://me@[::1]:22/s").value());
  EXPECT_EQ(all.front(), "ssh");
  EXPECT_THAT(all, Contains("BatchMode=yes"));
  const std::vector<std::string> last(all.end() - 10, all.end());
  EXPECT_EQ(last, (std::vector<std::string>{"-l", "me", "-p", "22", "--", "::1", "tandemd", "relay",
                                            "--socket", "/s"}));
}

}  // namespace
}  // namespace tandem::replica
