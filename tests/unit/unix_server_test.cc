// Clients of every bad kind hold up nobody else and cost the server nothing for long.
#include "tools/unix_server.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "tests/files.h"
#include "tests/process.h"
#include "tests/scratch.h"
#include "tools/unix_connection.h"

namespace tandem::tools {
namespace {

using std::chrono::milliseconds;
using test::kPatience;
using Clock = UnixConnection::Clock;

constexpr milliseconds kNever{3'600'000};
constexpr milliseconds kSoon{500};

// Holds up the handlers of requests that begin with "wait" until it is opened.
class Barrier {
 public:
  std::string Answer(std::string_view request) {
    if (request.starts_with("wait")) {
      ++waiting_;
      opened_.wait();
    }
    return std::string(request);
  }
  void Open() { promise_.set_value(); }
  bool WaitForWaiting(int count) {
    return test::WaitFor([&] { return waiting_ == count; });
  }

 private:
  std::promise<void> promise_;
  std::shared_future<void> opened_ = promise_.get_future().share();
  std::atomic<int> waiting_{0};
};

class UnixServerTest : public testing::Test {
 protected:
  void Listen(UnixServer::Handler handler) {
    auto server = UnixServer::Listen(path_, limits_, std::move(handler));
    ASSERT_TRUE(server) << server.error().ToString();
    server_ = std::move(*server);
  }
  void ListenAndServe(UnixServer::Handler handler) {
    Listen(std::move(handler));
    server_->Serve();
  }
  void ListenAndEcho() {
    ListenAndServe([](std::string_view request) { return std::string(request); });
  }

  UniqueFd Connect() const {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ConnectTo(fd);
    return fd;
  }
  void ConnectTo(const UniqueFd& fd) const {
    const sockaddr_un address = UnixAddress(path_).value();
    ASSERT_EQ(0, connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address))
        << errno;
  }
  static void SendBytes(const UniqueFd& fd, std::string_view bytes) {
    EXPECT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  UniqueFd SendRequest(std::string_view request) const {
    UniqueFd fd = Connect();
    const auto length = static_cast<uint32_t>(request.size());
    SendBytes(fd, {reinterpret_cast<const char*>(&length), sizeof length});
    SendBytes(fd, request);
    return fd;
  }
  // Waits until the server ends the connection.
  static bool IsEnded(const UniqueFd& fd) {
    const timeval limit = {60, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char byte;
    const ssize_t got = recv(fd.get(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }
  Result<std::string> Ask(const std::string& request, milliseconds limit = kPatience) const {
    const auto deadline = Clock::now() + limit;
    ASSIGN_OR_RETURN(UnixConnection connection, UnixConnection::Connect(path_, deadline));
    RETURN_IF_ERROR(connection.Send(request, deadline));
    return connection.Receive(kMaxAnswerBytes, deadline);
  }
  testing::AssertionResult Answers(const std::string& request = "hello") const {
    const auto answer = Ask(request);
    if (!answer) return testing::AssertionFailure() << answer.error().ToString();
    return *answer == request ? testing::AssertionSuccess() : testing::AssertionFailure();
  }

  test::Scratch scratch_;
  const std::string path_ = scratch_.Path("s");
  UnixServer::Limits limits_;
  Barrier barrier_;  // handlers may still be in it when a test ends
  std::unique_ptr<UnixServer> server_;
};

TEST_F(UnixServerTest, MessagesOfMegabytesAndOfNothingPass) {
  limits_.max_request_bytes = 16 << 20;
  ListenAndEcho();
  EXPECT_TRUE(Answers(""));
  EXPECT_TRUE(Answers(test::RandomBytes(16 << 20)));
}

TEST_F(UnixServerTest, ClientsThatConnectAndGoAwayAtOnceHarmNobody) {
  limits_.request_time = kNever;
  ListenAndEcho();
  for (int i = 0; i < 1000; ++i) Connect();
  EXPECT_TRUE(Answers());
}

TEST_F(UnixServerTest, AClientThatGoesAwayWithinARequestHarmsNobody) {
  limits_.request_time = kNever;
  ListenAndEcho();
  for (int i = 0; i < 200; ++i) SendBytes(Connect(), {"\x40\0", 2});
  for (int i = 0; i < 200; ++i) SendBytes(Connect(), {"\x40\0\0\0half", 8});
  EXPECT_TRUE(Answers());
}

TEST_F(UnixServerTest, ClientsThatSendNothingOrHalfALengthAreLetGo) {
  limits_.max_connections = 2;
  limits_.request_time = kSoon;
  ListenAndEcho();
  const UniqueFd silent = Connect();
  const UniqueFd halfway = Connect();
  SendBytes(halfway, {"\x40\0", 2});
  EXPECT_TRUE(Answers());
  EXPECT_TRUE(IsEnded(silent));
  EXPECT_TRUE(IsEnded(halfway));
}

TEST_F(UnixServerTest, AClientThatSendsByteAfterByteIsLetGo) {
  limits_.max_connections = 1;
  limits_.request_time = kSoon;
  ListenAndEcho();
  const UniqueFd slow = Connect();
  SendBytes(slow, {"\0\0\x10\0", 4});
  EXPECT_TRUE(test::WaitFor([&] { return send(slow.get(), "x", 1, MSG_NOSIGNAL) < 0; }));
  EXPECT_TRUE(Answers());
}

TEST_F(UnixServerTest, LengthsBeyondTheBoundEndTheConnectionAtOnce) {
  limits_.request_time = kNever;
  ListenAndEcho();
  for (const std::string_view bytes :
       {std::string_view("\xff\xff\xff\xff", 4), std::string_view("\1\0\x10\0", 4),
        std::string_view("GET / HTTP/1.1\r\n\r\n")}) {
    const UniqueFd fd = Connect();
    SendBytes(fd, bytes);
    EXPECT_TRUE(IsEnded(fd));
  }
  EXPECT_TRUE(Answers(std::string(limits_.max_request_bytes, 'x')));
}

TEST_F(UnixServerTest, AClientThatDoesNotReadItsAnswerIsLetGo) {
  limits_.max_connections = 1;
  // For one that reads it takes milliseconds, under a sanitizer a few hundred.
  limits_.answer_time = std::chrono::seconds(3);
  ListenAndServe([](std::string_view request) {
    return request == "large" ? std::string(8 << 20, 'x') : std::string(request);
  });
  const UniqueFd lazy = SendRequest("large");
  EXPECT_TRUE(Answers());
  const auto answer = Ask("large");
  ASSERT_TRUE(answer) << answer.error().ToString();
  EXPECT_EQ(answer->size(), 8u << 20);
}

TEST_F(UnixServerTest, AnAnswerThatIsTooLongIsNotSent) {
  ListenAndServe([](std::string_view request) {
    return request == "large" ? std::string(kMaxAnswerBytes + 1, 'x') : std::string(request);
  });
  EXPECT_EQ(Ask("large").error().kind(), ErrorKind::kUnreachable);
  EXPECT_TRUE(Answers());
}

TEST_F(UnixServerTest, AHandlerThatThrowsEndsItsConnectionOnly) {
  ListenAndServe([](std::string_view request) {
    if (request == "throw") throw std::bad_alloc();
    return std::string(request);
  });
  EXPECT_EQ(Ask("throw").error().kind(), ErrorKind::kUnreachable);
  EXPECT_TRUE(Answers());
}

TEST_F(UnixServerTest, TwoHundredClientsAtOnceAreAllAnsweredAFewAtATime) {
  std::atomic<size_t> running{0}, most{0}, answered{0};
  ListenAndServe([&](std::string_view request) {
    const size_t now = ++running;
    for (size_t before = most; before < now && !most.compare_exchange_weak(before, now);) {
    }
    std::this_thread::yield();
    --running;
    return std::string(request);
  });
  std::vector<std::thread> clients;
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back([&, i] {
      if (Answers(std::to_string(i))) ++answered;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, 200u);
  EXPECT_LE(most, limits_.max_connections);
}

TEST_F(UnixServerTest, ThoseBeyondTheLimitWait) {
  limits_.max_connections = 2;
  ListenAndServe([&](std::string_view request) { return barrier_.Answer(request); });
  const UniqueFd first = SendRequest("wait");
  const UniqueFd second = SendRequest("wait");
  ASSERT_TRUE(barrier_.WaitForWaiting(2));
  const auto late = Ask("hello", kSoon);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind(), ErrorKind::kUnreachable);
  auto third = std::async(std::launch::async, [this] { return Answers(); });
  barrier_.Open();
  EXPECT_TRUE(third.get());
}

TEST_F(UnixServerTest, NothingIsDoneForAClientThatHasGivenUp) {
  limits_.max_connections = 1;
  std::atomic<bool> was_done{false};
  ListenAndServe([&](std::string_view request) {
    if (request == "forget it") was_done = true;
    return barrier_.Answer(request);
  });
  const UniqueFd first = SendRequest("wait");
  ASSERT_TRUE(barrier_.WaitForWaiting(1));
  SendRequest("forget it");
  barrier_.Open();
  EXPECT_TRUE(Answers());
  server_.reset();  // and with it what may set this
  EXPECT_FALSE(was_done);
}

double ProcessorSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST_F(UnixServerTest, WithoutDescriptorsItWaitsAndDoesNotSpin) {
  ListenAndEcho();
  rlimit before = {};
  ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &before));
  auto connection = UnixConnection::Connect(path_, Clock::now() + kPatience);
  ASSERT_TRUE(connection);
  ASSERT_TRUE(connection->Send("first", Clock::now() + kPatience));
  ASSERT_TRUE(connection->Receive(kMaxAnswerBytes, Clock::now() + kPatience));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const rlimit none = {3, before.rlim_max};
  ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
  ConnectTo(fd);
  SendBytes(fd, {"\2\0\0\0hi", 6});
  const double start = ProcessorSeconds();
  const timeval limit = {1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char bytes[6];
  EXPECT_LT(recv(fd.get(), bytes, sizeof bytes, MSG_WAITALL), 0);
  EXPECT_LT(ProcessorSeconds() - start, 0.3);
  ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &before));
  const timeval patience = {60, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT_EQ(recv(fd.get(), bytes, sizeof bytes, MSG_WAITALL), 6);
  EXPECT_TRUE(Answers());
}

TEST_F(UnixServerTest, AStopWaitsForHandlersAndForNobodyElse) {
  limits_.request_time = limits_.answer_time = kNever;
  ListenAndServe([&](std::string_view request) {
    if (request == "large") return std::string(8 << 20, 'x');
    return barrier_.Answer(request);
  });
  const UniqueFd silent = Connect();
  const UniqueFd lazy = SendRequest("large");
  auto answered = std::async(std::launch::async, [this] { return Answers("wait"); });
  ASSERT_TRUE(barrier_.WaitForWaiting(1));
  auto stopped = std::async(std::launch::async, [this] { server_.reset(); });
  EXPECT_TRUE(IsEnded(silent));
  EXPECT_EQ(stopped.wait_for(kSoon), std::future_status::timeout) << "a handler is under way";
  barrier_.Open();
  EXPECT_EQ(stopped.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(answered.get()) << "what the handler said was lost";
  EXPECT_FALSE(Ask("hello", kSoon));
}

TEST_F(UnixServerTest, ItsSocketIsForItsOwnerWhateverTheUmask) {
  for (const mode_t mask : {mode_t{0}, mode_t{0777}}) {
    const mode_t before = umask(mask);
    ListenAndEcho();
    umask(before);
    EXPECT_EQ(test::Lstat(path_).st_mode & 0777, 0600u);
    EXPECT_TRUE(Answers());
    server_.reset();
    unlink(path_.c_str());
  }
}

// The mode of the socket lets in whoever may do everything to files.
TEST_F(UnixServerTest, ItAnswersItsOwnerAndRootOnly) {
  if (geteuid() != 0) GTEST_SKIP() << "becomes another user: run it as root";
  ListenAndEcho();
  const auto answered = [this](uid_t user) {
    const pid_t child = fork();
    if (child == 0) {
      __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
      __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
      sets[0].effective = sets[0].permitted = 1U << CAP_DAC_OVERRIDE;
      prctl(PR_SET_KEEPCAPS, 1);
      if (setresuid(user, user, user) != 0 || syscall(SYS_capset, &header, sets) != 0) _exit(2);
      _exit(Ask("hello") ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(answered(0), 0);
  EXPECT_EQ(answered(12'001), 1);
}

TEST_F(UnixServerTest, AnswersNobodyBeforeItServes) {
  std::atomic<bool> asked{false};
  Listen([&asked](std::string_view request) {
    asked = true;
    return std::string(request);
  });
  EXPECT_FALSE(Ask("early", milliseconds(100)));
  const UniqueFd waiting = SendRequest("waiting");
  EXPECT_FALSE(asked);
  server_->Serve();
  EXPECT_TRUE(Answers());
  char byte;
  EXPECT_EQ(1, recv(waiting.get(), &byte, 1, 0));
}

TEST_F(UnixServerTest, APathThatIsTooLongIsSaid) {
  const std::string path = scratch_.Path(std::string(100, 'x'));
  const auto server = UnixServer::Listen(path, limits_, [](std::string_view) { return ""; });
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().kind(), ErrorKind::kUsage);
  EXPECT_NE(server.error().ToString().find("XDG_RUNTIME_DIR"), std::string::npos);
  EXPECT_EQ(UnixConnection::Connect(path, Clock::now()).error().kind(), ErrorKind::kUsage);
}

// ---- The client's side, and a server that is stopped ------------------------------------------

class StoppedServer : public UnixServerTest {
 protected:
  void SetUp() override {
    const sockaddr_un address = UnixAddress(path_).value();
    ASSERT_EQ(0,
              bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
    ASSERT_EQ(0, listen(listener_.get(), 0));
  }
  void ExpectLate() const {
    const auto start = Clock::now();
    const auto answer = Ask(std::string(1 << 20, 'x'), kSoon);
    const auto took = Clock::now() - start;
    EXPECT_FALSE(answer);
    EXPECT_GE(took, kSoon);
    EXPECT_LT(took, kSoon + std::chrono::seconds(10));
  }

  const UniqueFd listener_{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

TEST_F(StoppedServer, CostsAClientItsTimeAlsoWhenTooManyWaitForIt) {
  ExpectLate();
  std::vector<UniqueFd> waiting;
  const sockaddr_un address = UnixAddress(path_).value();
  while (true) {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) break;
    waiting.push_back(std::move(fd));
    ASSERT_LT(waiting.size(), 100u);
  }
  EXPECT_EQ(errno, EAGAIN);
  ExpectLate();
}

TEST_F(StoppedServer, ThatSendsByteAfterByteCostsAClientItsTime) {
  std::atomic<bool> done{false};
  std::thread server([&] {
    const UniqueFd fd(accept(listener_.get(), nullptr, nullptr));
    (void)send(fd.get(), "\xff\xff\xff\3", 4, MSG_NOSIGNAL);
    while (!done && send(fd.get(), "x", 1, MSG_NOSIGNAL) == 1) std::this_thread::yield();
  });
  const auto answer = Ask("hello", kSoon);
  done = true;
  server.join();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind(), ErrorKind::kUnreachable);
}

}  // namespace
}  // namespace tandem::tools
