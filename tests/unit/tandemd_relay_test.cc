// tandemd relay, as ssh runs it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;

class TandemdRelay : public testing::Test {
 protected:
  void Listen() {
    listener_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener_.get(), 1), 0);
  }
  // Starts it with `near_` as its standard input and output, as user and group, if they are given.
  void Start(std::optional<uid_t> user = {}) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    near_ = UniqueFd(ends[0]);
    const UniqueFd its(ends[1]);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(its.get(), STDIN_FILENO);
      dup2(its.get(), STDOUT_FILENO);
      if (user && (setgroups(1, &kGroup) != 0 || setgid(*user) != 0 || setuid(*user) != 0))
        _exit(9);
      const std::string program = Program("tandemd");
      execl(program.c_str(), "tandemd", "relay", "--socket", path_.c_str(), nullptr);
      _exit(9);
    }
    far_ = UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(far_.valid());
  }
  void TearDown() override {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  // Its exit code; -1 if it does not end.
  int Ends(rusage* usage = nullptr) {
    int status = -1;
    const bool ended =
        WaitFor([&] { return wait4(pid_, &status, WNOHANG, usage) == pid_; }, seconds(10));
    if (!ended) return -1;
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static std::string ReadToTheEnd(const UniqueFd& fd) {
    std::string text;
    std::string bytes(1 << 16, '\0');
    for (ssize_t count; (count = read(fd.get(), bytes.data(), bytes.size())) > 0;) {
      text.append(bytes, 0, static_cast<size_t>(count));
    }
    return text;
  }
  static void WriteAll(const UniqueFd& fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
      ASSERT_GT(count, 0);
      text.remove_prefix(static_cast<size_t>(count));
    }
  }

  static constexpr gid_t kGroup = 12'002;
  const Scratch scratch_;
  const std::string path_ = scratch_.Path("sock");
  UniqueFd listener_;
  UniqueFd near_;
  UniqueFd far_;
  pid_t pid_ = 0;
};

TEST_F(TandemdRelay, CarriesMuchInBothDirectionsAtOnce) {
  Listen();
  Start();
  const std::string forth = RandomBytes(20 << 20, 1);
  const std::string back = RandomBytes(20 << 20, 2);
  std::string got_forth;
  std::thread reads_far([&] { got_forth = ReadToTheEnd(far_); });
  std::thread writes_far([&] {
    WriteAll(far_, back);
    shutdown(far_.get(), SHUT_WR);
  });
  std::thread writes_near([&] {
    WriteAll(near_, forth);
    shutdown(near_.get(), SHUT_WR);
  });
  reads_far.join();
  const std::string got_back = ReadToTheEnd(near_);
  writes_near.join();
  writes_far.join();
  EXPECT_TRUE(got_forth == forth);
  EXPECT_TRUE(got_back == back);
  EXPECT_EQ(Ends(), 0);
}

TEST_F(TandemdRelay, AnswersComeAfterTheEndOfTheInput) {
  Listen();
  Start();
  WriteAll(near_, "question");
  shutdown(near_.get(), SHUT_WR);
  EXPECT_EQ(ReadToTheEnd(far_), "question");
  WriteAll(far_, "answer");
  far_.Reset();
  EXPECT_EQ(ReadToTheEnd(near_), "answer");
  EXPECT_EQ(Ends(), 0);
}

TEST_F(TandemdRelay, EndsWhenTandemdEndsTheConnectionThoughTheInputGoesOn) {
  Listen();
  Start();
  far_.Reset();
  EXPECT_EQ(Ends(), 0);
}

TEST_F(TandemdRelay, EndsWhenNobodyIsLeftToReadThoughTandemdHoldsTheConnection) {
  Listen();
  Start();
  near_.Reset();
  EXPECT_EQ(Ends(), 0);
}

TEST_F(TandemdRelay, WaitsWithoutBeingBusy) {
  Listen();
  Start();
  shutdown(near_.get(), SHUT_WR);  // one direction has ended
  std::this_thread::sleep_for(milliseconds(500));
  far_.Reset();
  rusage usage = {};
  EXPECT_EQ(Ends(&usage), 0);
  EXPECT_LT(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec, 200'000);
}

TEST_F(TandemdRelay, NeedsNoMoreThanTheSocketsGroup) {
  if (geteuid() != 0) GTEST_SKIP() << "becomes another user: run it as root";
  Listen();
  ASSERT_EQ(chown(path_.c_str(), 0, kGroup), 0);
  ASSERT_EQ(chmod(path_.c_str(), 0660), 0);
  Start(12'001);
  ucred peer = {};
  socklen_t size = sizeof peer;
  ASSERT_EQ(getsockopt(far_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
  EXPECT_EQ(peer.uid, 12'001u) << "the user is known at the other end";
  WriteAll(far_, "x");
  far_.Reset();
  EXPECT_EQ(ReadToTheEnd(near_), "x");
}

TEST_F(TandemdRelay, SaysInOneLineWhyNot) {
  const auto run = [](std::vector<std::string> arguments) {
    std::vector<std::string> command = {Program("tandemd"), "relay"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Outcome outcome = Execute(command);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome;
    EXPECT_EQ(outcome.out, "");
    return outcome;
  };
  Outcome outcome = run({"--socket", path_});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("tandemd relay: connect to " + path_));
  EXPECT_THAT(outcome.err, HasSubstr("is tandemd running on this host?"));
  outcome = run({"--socket", "/" + std::string(200, 'x')});
  EXPECT_EQ(outcome.code, 1);
  outcome = run({"--no-such"});
  EXPECT_EQ(outcome.code, 2);
}

}  // namespace
}  // namespace tandem::test
