#include "replica/transport/transport.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "replica/transport/tuning.h"
#include "tests/process.h"
#include "tests/unit/waiting_thread.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kMostBytesOfAMessage = 4 << 20;

std::unique_ptr<ReplySocket> ListenWith(const std::string& url, const ReplySocket::Handler& handler,
                                        int workers = 8) {
  // A port is free again a moment after its last listener went.
  std::unique_ptr<ReplySocket> socket;
  EXPECT_TRUE(test::WaitFor([&] {
    auto listening = ReplySocket::Listen({url}, workers, kMostBytesOfAMessage, handler);
    if (listening) socket = std::move(*listening);
    return socket != nullptr;
  })) << "cannot listen on "
      << url;
  return socket;
}

std::string Echo(std::string_view request) { return "echo " + std::string(request); }

TEST(Transport, AnswersRequests) {
  const auto server = ListenWith("tcp://127.0.0.1:0", Echo);
  ASSERT_EQ(server->urls().size(), 1u);
  EXPECT_NE(server->urls()[0], "tcp://127.0.0.1:0");
  const auto socket = RequestSocket::Dial(server->urls()[0]).value();
  for (int i = 0; i < 100; ++i) {
    const std::string text = std::to_string(i);
    const auto answer = socket->Ask(text, milliseconds(5000));
    ASSERT_TRUE(answer) << answer.error().ToString();
    EXPECT_EQ(*answer, "echo " + text);
  }
  EXPECT_EQ(socket->connection(), 1u);
  EXPECT_EQ(socket->sent_bytes(), 190u);
  EXPECT_EQ(socket->received_bytes(), 190u + 500u);
}

// Returns TCP_NODELAY of the connections of this process from or to that port.
std::vector<int> NoDelayAt(uint16_t port) {
  std::vector<int> values;
  const auto is_there = [port](int fd, auto get_name) {
    sockaddr_in address = {};
    socklen_t length = sizeof address;
    return get_name(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
           address.sin_family == AF_INET && ntohs(address.sin_port) == port;
  };
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer = {};
    socklen_t length = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (!is_there(fd, getsockname) && !is_there(fd, getpeername)) continue;
    int value = -1;
    length = sizeof value;
    EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    values.push_back(value);
  }
  return values;
}

// Otherwise an answer waits for the acknowledgement of the one before, which the kernel delays by
// up to 40 ms: a first copy of large files took three times as long.
TEST(Transport, NeitherSideHoldsSmallMessagesBack) {
  const auto server = ListenWith("tcp://127.0.0.1:0", Echo);
  const std::string url = server->urls()[0];
  const auto socket = RequestSocket::Dial(url).value();
  ASSERT_TRUE(socket->Ask("request", milliseconds(5000)));
  const auto port = static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  EXPECT_EQ(NoDelayAt(port), (std::vector{1, 1}));
}

TEST(Transport, ManyCallsAreUnderWayAtOnce) {
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  const auto server = ListenWith("tcp://127.0.0.1:0", [&](std::string_view request) {
    const int now = ++running;
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    test::WaitFor([&most] { return most >= 8; });
    --running;
    return std::string(request);
  });
  const auto socket = RequestSocket::Dial(server->urls()[0]).value();
  std::vector<std::unique_ptr<RequestSocket::Call>> calls;
  for (int i = 0; i < 16; ++i) {
    calls.push_back(socket->Send(std::to_string(i), milliseconds(10000)).value());
  }
  for (int i = 0; i < 16; ++i) EXPECT_EQ(calls[i]->Wait().value(), std::to_string(i));
  EXPECT_EQ(most, 8);
}

TEST(Transport, ASignOfLifeIsAskedForWhileAnAnswerIsAwaited) {
  std::atomic<bool> asked{false};
  const auto server = ListenWith("tcp://127.0.0.1:0", [&](std::string_view request) {
    if (request == "are you there") {
      asked = true;
    } else {
      test::WaitFor([&asked] { return asked.load(); });
    }
    return std::string(request);
  });
  RequestSocket::Options options;
  options.sign_of_life = "are you there";
  const auto socket = RequestSocket::Dial(server->urls()[0], std::move(options)).value();
  const auto answer = socket->Ask("takes long", milliseconds(20'000));
  ASSERT_TRUE(answer) << answer.error().ToString();
  EXPECT_EQ(*answer, "takes long");
  EXPECT_TRUE(asked);
  EXPECT_EQ(socket->connections(), 1u);
}

TEST(Transport, NothingHeardIsASilenceOnlyIfAnAnswerIsDue) {
  std::atomic<bool> go_on{false};
  const auto server = ListenWith("tcp://127.0.0.1:0", [&](std::string_view request) {
    if (request == "takes long") test::WaitFor([&go_on] { return go_on.load(); });
    return std::string(request);
  });
  const auto socket = RequestSocket::Dial(server->urls()[0]).value();
  ASSERT_TRUE(socket->Ask("hello", milliseconds(5000)));
  const auto call = socket->Send("takes long", milliseconds(20'000)).value();
  EXPECT_EQ(socket->silence(), milliseconds(0));
  EXPECT_TRUE(test::WaitFor([&] { return socket->silence() > kAnswerIsDue; }));
  go_on = true;
  ASSERT_TRUE(call->Wait());
  EXPECT_EQ(socket->silence(), milliseconds(0));
}

// Otherwise a source that does nothing learns with its next heartbeat that its session is gone.
TEST(Transport, ConnectionsThatComeAndGoAreTold) {
  std::atomic<int> told{0};
  RequestSocket::Options options;
  options.on_connection = [&told] { ++told; };
  auto server = ListenWith("tcp://127.0.0.1:0", Echo);
  const std::string url = server->urls()[0];
  const auto socket = RequestSocket::Dial(url, std::move(options)).value();
  EXPECT_TRUE(test::WaitFor([&] { return told == 1 && socket->connection() == 1; }));
  server.reset();
  EXPECT_TRUE(test::WaitFor([&] { return told == 2 && socket->connection() == 0; }));
  server = ListenWith(url, Echo);
  EXPECT_TRUE(test::WaitFor([&] { return told >= 3 && socket->connection() == 2; }));
}

TEST(Transport, TheEndOfAConnectionIsKnown) {
  std::vector<ConnectionRef> connections;  // one request at a time
  const auto server =
      ReplySocket::Listen({"tcp://127.0.0.1:0"}, 8, kMostBytesOfAMessage,
                          [&](std::string_view request, const ConnectionRef& connection) {
                            connections.push_back(connection);
                            return std::string(request);
                          })
          .value();
  auto first = RequestSocket::Dial(server->urls()[0]).value();
  const auto second = RequestSocket::Dial(server->urls()[0]).value();
  for (const auto& socket : {first.get(), first.get(), second.get()}) {
    ASSERT_TRUE(socket->Ask("x", milliseconds(10'000)));
  }
  EXPECT_EQ(connections[0], connections[1]);
  EXPECT_NE(connections[0], connections[2]);
  EXPECT_TRUE(connections[0]->open());
  first.reset();
  EXPECT_TRUE(test::WaitFor([&] { return !connections[0]->open(); }));
  EXPECT_TRUE(connections[2]->open());
}

TEST(Transport, LargeMessagesPass) {
  const auto server = ListenWith("tcp://127.0.0.1:0", Echo);
  const auto socket = RequestSocket::Dial(server->urls()[0]).value();
  const std::string large(3 << 20, 'x');
  EXPECT_EQ(socket->Ask(large, milliseconds(10000)).value().size(), large.size() + 5);
}

TEST(Transport, UnreachablePeerTimesOut) {
  const auto socket = RequestSocket::Dial("tcp://127.0.0.1:1").value();
  const auto start = Clock::now();
  const auto answer = socket->Ask("hello", milliseconds(200));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind(), ErrorKind::kUnreachable);
  EXPECT_LT(Clock::now() - start, milliseconds(3000));
  EXPECT_EQ(socket->connection(), 0u);
}

TEST(Transport, SilentPeerTimesOut) {
  std::atomic<bool> stop{false};
  const auto server = ListenWith("tcp://127.0.0.1:0", [&](std::string_view) {
    stop.wait(false);
    return std::string("late");
  });
  auto socket = RequestSocket::Dial(server->urls()[0]).value();
  const auto answer = socket->Ask("hello", milliseconds(200));
  EXPECT_EQ(answer ? ErrorKind::kSystem : answer.error().kind(), ErrorKind::kUnreachable);
  socket.reset();
  stop = true;
  stop.notify_all();
}

TEST(Transport, NonsenseUrlsAreRefused) {
  for (const char* url : {"", "nonsense", "http://x/y", "tcp:/127.0.0.1:5", "tandem://x"}) {
    const auto socket = RequestSocket::Dial(url);
    ASSERT_FALSE(socket) << url;
    EXPECT_EQ(socket.error().kind(), ErrorKind::kUsage);
  }
  EXPECT_FALSE(ReplySocket::Listen({"nonsense"}, 1, kMostBytesOfAMessage, Echo));
}

TEST(Transport, RequestUnderWaySurvivesPeerRestart) {
  std::atomic<bool> received{false};
  std::atomic<bool> stop{false};
  auto server = ListenWith("tcp://127.0.0.1:0", [&](std::string_view) {
    received = true;
    stop.wait(false);
    return std::string("from the first");
  });
  const std::string url = server->urls()[0];
  const auto socket = RequestSocket::Dial(url).value();
  const auto call = socket->Send("hello", milliseconds(20000)).value();
  ASSERT_TRUE(test::WaitFor([&received] { return received.load(); }));
  // Closing the socket first: the answer of the first never arrives.
  std::thread release([&] {
    std::this_thread::sleep_for(milliseconds(100));
    stop = true;
    stop.notify_all();
  });
  server.reset();
  release.join();
  server = ListenWith(url, [](std::string_view) { return std::string("from the second"); });
  EXPECT_EQ(call->Wait().value(), "from the second");
  EXPECT_EQ(socket->Ask("again", milliseconds(5000)).value(), "from the second");
}

TEST(Transport, PeerThatComesLateIsFound) {
  auto first = ListenWith("tcp://127.0.0.1:0", Echo);
  const std::string url = first->urls()[0];
  first.reset();
  const auto socket = RequestSocket::Dial(url).value();
  const auto call = socket->Send("early", milliseconds(20000)).value();
  std::this_thread::sleep_for(milliseconds(300));
  const auto server = ListenWith(url, Echo);
  EXPECT_EQ(call->Wait().value(), "echo early");
}

TEST(Transport, CloseEndsCallsUnderWay) {
  const auto socket = RequestSocket::Dial("tcp://127.0.0.1:1").value();
  const auto call = socket->Send("hello", milliseconds(60000)).value();
  {
    const test::WaitingThread caller([&call] {
      const auto answer = call->Wait();
      ASSERT_FALSE(answer);
      EXPECT_EQ(answer.error().kind(), ErrorKind::kCancelled);
    });
    caller.ExpectAsleep();
    socket->Close();
  }
  const auto later = socket->Ask("hello", milliseconds(1000));
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().kind(), ErrorKind::kCancelled);
}

TEST(Transport, AbandonedCallsAreCancelled) {
  std::atomic<bool> stop{false};
  const auto server = ListenWith("tcp://127.0.0.1:0", [&](std::string_view request) {
    if (request == "wait") stop.wait(false);
    return std::string(request);
  });
  auto socket = RequestSocket::Dial(server->urls()[0]).value();
  for (int i = 0; i < 200; ++i) {
    auto call = socket->Send(i % 8 == 0 ? "wait" : "go", milliseconds(5000)).value();
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i));
    call.reset();
    if (i % 32 == 31) {
      stop = true;
      stop.notify_all();
      EXPECT_EQ(socket->Ask("alive", milliseconds(5000)).value(), "alive");
      stop = false;
    }
  }
  socket.reset();
  stop = true;
  stop.notify_all();
}

TEST(Transport, HandlerThatThrowsAnswersNobodyElseBadly) {
  const auto server = ListenWith("tcp://127.0.0.1:0", [](std::string_view request) -> std::string {
    if (request == "throw") throw std::bad_alloc();
    return "fine";
  });
  const auto socket = RequestSocket::Dial(server->urls()[0]).value();
  EXPECT_FALSE(socket->Ask("throw", milliseconds(200)));
  EXPECT_EQ(socket->Ask("ask", milliseconds(5000)).value(), "fine");
}

}  // namespace
}  // namespace tandem::replica
