// What is said of a connection that does not come about.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "meta/base/unique_fd.h"
#include "replica/transport/transport.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::replica {
namespace {

using ::testing::HasSubstr;

// Returns what is said once `expected` is, or in the end.
std::string WhyNot(const std::string& url, const std::string& expected) {
  const auto socket = RequestSocket::Dial(url).value();
  test::WaitFor([&] { return socket->WhyNotConnected().find(expected) != std::string::npos; },
                std::chrono::seconds(20));
  return socket->WhyNotConnected();
}

// A port of the loopback that somebody listens on, and is no tandemd.
class Listener {
 public:
  explicit Listener(int backlog = 8) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    EXPECT_EQ(0, bind(fd_.get(), reinterpret_cast<sockaddr*>(&address_), size));
    EXPECT_EQ(0, getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address_), &size));
    EXPECT_EQ(0, listen(fd_.get(), backlog));
  }
  std::string url() const { return "tcp://127.0.0.1:" + std::to_string(ntohs(address_.sin_port)); }
  int fd() const { return fd_.get(); }
  // A connection that is made as far as there is room for one.
  UniqueFd Connect() const {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)connect(fd.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
    return fd;
  }
  void Close() { fd_.Reset(); }

 private:
  UniqueFd fd_;
  sockaddr_in address_ = {};
};

TEST(WhyNotConnected, AnUnknownHostIsNamed) {
  const std::string why = "no address is known of host no.such.host.invalid";
  EXPECT_THAT(WhyNot("tcp://no.such.host.invalid:1", why), HasSubstr(why));
}

TEST(WhyNotConnected, AClosedPortIsTold) {
  Listener listener;
  listener.Close();
  const std::string why = "nothing listens at " + listener.url();
  EXPECT_THAT(WhyNot(listener.url(), why), HasSubstr(why));
}

// A full backlog drops what comes, as a firewall does.
TEST(WhyNotConnected, ASilentHostIsTold) {
  const Listener listener(/*backlog=*/0);
  std::vector<UniqueFd> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(listener.Connect());
  EXPECT_THAT(WhyNot(listener.url(), "is silent"), HasSubstr("127.0.0.1 is silent"));
}

TEST(WhyNotConnected, AServiceThatSaysNothingIsTold) {
  const Listener listener;
  const std::string why = "something listens at " + listener.url() + " and says nothing";
  EXPECT_THAT(WhyNot(listener.url(), why), HasSubstr(why));
}

TEST(WhyNotConnected, AWrongServiceIsTold) {
  for (const std::string greeting : {"SSH-2.0-OpenSSH\r\n", ""}) {
    const Listener listener;
    std::atomic<bool> stop{false};
    std::thread service([&] {
      while (!stop) {
        const UniqueFd client(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
        send(client.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
      }
    });
    const std::string why = "what listens at " + listener.url() + " is no tandemd";
    EXPECT_THAT(WhyNot(listener.url(), why), HasSubstr(why));
    stop = true;
    const UniqueFd last = listener.Connect();
    service.join();
  }
}

TEST(WhyNotConnected, AMissingSocketIsTold) {
  const test::Scratch scratch;
  const std::string why = "no socket " + scratch.Path("none");
  EXPECT_THAT(WhyNot("ipc://" + scratch.Path("none"), why), HasSubstr(why));
  EXPECT_THAT(WhyNot("ipc://" + scratch.path(), "is no socket"), HasSubstr("is no socket"));
}

}  // namespace
}  // namespace tandem::replica
