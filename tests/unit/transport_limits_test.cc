// What a peer that keeps to no rule costs the side that answers, and the others.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "meta/base/unique_fd.h"
#include "replica/transport/transport.h"
#include "replica/transport/tuning.h"
#include "tests/process.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

constexpr size_t kFrameLimit = 8 << 20;
constexpr std::string_view kGreeting("\0SP\0\0\x30\0\0", 8);

// A connection without any library: it says what it is told to.
class RawPeer {
 public:
  // From another address of this host it is another peer.
  explicit RawPeer(const std::string& url, const char* from = "127.0.0.1")
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    EXPECT_EQ(inet_pton(AF_INET, from, &address.sin_addr), 1);
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const int window = 4096;  // what it does not read waits on the other side
    EXPECT_EQ(setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &window, sizeof window), 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  bool Say(std::string_view bytes) {
    return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // A frame's header, and so much of its body.
  bool SayFrame(size_t size, size_t of_it) {
    std::string bytes(8, '\0');
    for (size_t i = 0; i < 8; ++i) bytes[7 - i] = static_cast<char>(size >> (8 * i));
    bytes += "\x80";
    bytes.resize(8 + of_it, '\1');
    return Say(bytes);
  }
  bool EndedBy(milliseconds timeout) {
    timeval patience{timeout.count() / 1000, (timeout.count() % 1000) * 1000};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char bytes[64];
    ssize_t got = 0;
    while ((got = recv(fd_.get(), bytes, sizeof bytes, 0)) > 0) {
    }
    return got == 0 || errno == ECONNRESET;
  }

 private:
  UniqueFd fd_;
};

class TransportLimits : public testing::Test {
 protected:
  std::unique_ptr<ReplySocket> server_ =
      ReplySocket::Listen({"tcp://127.0.0.1:0"}, 8, kFrameLimit, [](std::string_view request) {
        return std::string(request);
      }).value();
  const std::string url_ = server_->urls()[0];
  std::unique_ptr<RequestSocket> honest_ = RequestSocket::Dial(url_).value();
};

TEST_F(TransportLimits, AFrameThatIsTooLargeOrHasNoNumberEndsItsConnection) {
  for (const size_t size : {size_t{0}, size_t{3}, kFrameLimit + 5, ~size_t{0}}) {
    RawPeer peer(url_);
    ASSERT_TRUE(peer.Say(kGreeting));
    ASSERT_TRUE(peer.SayFrame(size, 3));
    EXPECT_TRUE(peer.EndedBy(milliseconds(10'000))) << size;
  }
  RawPeer peer(url_);
  ASSERT_TRUE(peer.Say(kGreeting));
  ASSERT_TRUE(peer.Say(std::string_view("\0\0\0\0\0\0\0\4\0\0\0\1", 12)));
  EXPECT_TRUE(peer.EndedBy(milliseconds(10'000)));
  EXPECT_EQ(honest_->Ask("still", milliseconds(10'000)).value(), "still");
}

// Together they hold more than is there for frames.
TEST_F(TransportLimits, HalfFramesGiveWayToThoseThatGetOn) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 20; ++i) {
    peers.push_back(std::make_unique<RawPeer>(url_));
    ASSERT_TRUE(peers.back()->Say(kGreeting));
  }
  std::vector<std::thread> talkers;
  for (const auto& peer : peers) {
    talkers.emplace_back([&peer] { (void)peer->SayFrame(kFrameLimit, kFrameLimit - 4096); });
  }
  const std::string large(kFrameLimit, 'x');
  for (int i = 0; i < 5; ++i) {
    const auto answer = honest_->Ask(large, milliseconds(20'000));
    ASSERT_TRUE(answer) << answer.error().ToString();
    EXPECT_EQ(answer->size(), large.size());
  }
  peers.front()->EndedBy(milliseconds(1));
  for (auto& talker : talkers) talker.join();
}

// None of them is stale: all wait for memory that only one of them can give back.
TEST_F(TransportLimits, FramesThatFillTheMemoryTogetherAreAllAnswered) {
  std::vector<std::unique_ptr<RequestSocket>> sockets;
  std::vector<std::unique_ptr<RequestSocket::Call>> calls;
  for (int i = 0; i < 24; ++i) {
    sockets.push_back(RequestSocket::Dial(url_).value());
    calls.push_back(
        sockets.back()->Send(std::string(kFrameLimit, 'x'), milliseconds(60'000)).value());
  }
  for (const auto& call : calls) {
    const auto answer = call->Wait();
    ASSERT_TRUE(answer) << answer.error().ToString();
    EXPECT_EQ(answer->size(), kFrameLimit);
  }
}

TEST_F(TransportLimits, ThoseThatSayNothingMakeRoomForThoseThatGreet) {
  std::vector<std::unique_ptr<RawPeer>> silent;
  for (int i = 0; i < 300; ++i) silent.push_back(std::make_unique<RawPeer>(url_));
  const auto late = RequestSocket::Dial(url_).value();
  EXPECT_EQ(late->Ask("late", milliseconds(10'000)).value(), "late");
  EXPECT_TRUE(silent.front()->EndedBy(milliseconds(10'000)));
}

TEST_F(TransportLimits, AnswersThatOnePeerDoesNotReadAreBoundedOnAllItsConnections) {
  constexpr size_t kAnswerBytes = 1 << 20;
  constexpr size_t kPeers = 40;
  constexpr size_t kRequests = 8;
  constexpr int kWorkers = 16;
  std::atomic<size_t> answers{0};
  const auto server =
      ReplySocket::Listen({"tcp://127.0.0.1:0"}, kWorkers, kFrameLimit, [&](std::string_view) {
        ++answers;
        return std::string(kAnswerBytes, 'a');
      }).value();
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (size_t i = 0; i < kPeers; ++i) {
    peers.push_back(std::make_unique<RawPeer>(server->urls()[0], "127.0.0.2"));
    ASSERT_TRUE(peers.back()->Say(kGreeting));
    for (size_t j = 0; j < kRequests; ++j) ASSERT_TRUE(peers.back()->SayFrame(16, 16));
  }
  size_t before = ~size_t{0};
  EXPECT_TRUE(test::WaitFor([&] {
    std::this_thread::sleep_for(milliseconds(300));
    return std::exchange(before, answers.load()) == answers;
  }));
  // The kernel takes in some of it, and the workers have begun some more.
  EXPECT_LE(answers, kMostUnsentOfPeer / kAnswerBytes + kPeers + 2 * kWorkers);
  const auto honest = RequestSocket::Dial(server->urls()[0]).value();
  EXPECT_TRUE(honest->Ask("still", milliseconds(10'000)));
  // Those that read in the end have their answers, or an end.
  const size_t so_far = answers;
  for (const auto& peer : peers) peer->EndedBy(milliseconds(20));
  EXPECT_TRUE(test::WaitFor([&] { return answers > so_far + 1; }));
}

TEST_F(TransportLimits, APeerThatReadsNoAnswersIsReadNoFurther) {
  RawPeer peer(url_);
  ASSERT_TRUE(peer.Say(kGreeting));
  std::atomic<bool> stop{false};
  std::atomic<size_t> said{0};
  std::thread talker([&] {
    while (!stop && peer.SayFrame(1 << 20, 1 << 20)) ++said;
  });
  // What it says waits in the kernel in the end.
  size_t before = ~size_t{0};
  EXPECT_TRUE(test::WaitFor([&] {
    std::this_thread::sleep_for(milliseconds(300));
    return std::exchange(before, said.load()) == said;
  }));
  EXPECT_LT(said, 100u);
  EXPECT_EQ(honest_->Ask("still", milliseconds(10'000)).value(), "still");
  stop = true;
  server_.reset();
  talker.join();
}

}  // namespace
}  // namespace tandem::replica
