// What is said of a link that does not come about.
#include "replica/source/link_probe.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "meta/base/unique_fd.h"
#include "replica/transport/transport.h"
#include "tests/scratch.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr milliseconds kPatience{200};

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

TEST(LinkProbe, AnUnknownHostIsNamed) {
  const std::string why = WhyNoConnection("tcp://no.such.host.invalid:1", kPatience);
  EXPECT_THAT(why, HasSubstr("no address is known of host no.such.host.invalid"));
}

TEST(LinkProbe, AClosedPortIsTold) {
  Listener listener;
  listener.Close();
  EXPECT_THAT(WhyNoConnection(listener.url(), kPatience),
              HasSubstr("nothing listens at " + listener.url()));
}

// A full backlog drops what comes, as a firewall does.
TEST(LinkProbe, ASilentHostIsTold) {
  const Listener listener(/*backlog=*/0);
  std::vector<UniqueFd> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(listener.Connect());
  EXPECT_THAT(WhyNoConnection(listener.url(), kPatience), HasSubstr("127.0.0.1 is silent"));
}

TEST(LinkProbe, AServiceThatSaysNothingIsTold) {
  const Listener listener;
  EXPECT_THAT(WhyNoConnection(listener.url(), kPatience),
              HasSubstr("something listens at " + listener.url() + " and says nothing"));
}

TEST(LinkProbe, AWrongServiceIsTold) {
  for (const std::string greeting : {"SSH-2.0-OpenSSH\r\n", ""}) {
    const Listener listener;
    std::thread service([&] {
      const UniqueFd client(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      send(client.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
    });
    EXPECT_THAT(WhyNoConnection(listener.url(), std::chrono::seconds(60)),
                HasSubstr("what listens at " + listener.url() + " is no tandemd"));
    service.join();
  }
}

TEST(LinkProbe, ATandemdIsRecognisedAndGoesOnServing) {
  const auto server =
      ReplySocket::Listen({"tcp://127.0.0.1:0"}, 2, 1 << 20,
                          [](std::string_view request) { return std::string(request); });
  ASSERT_TRUE(server);
  const std::string url = (*server)->urls().front();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(WhyNoConnection(url, std::chrono::seconds(60)), "");
  const auto client = RequestSocket::Dial(url);
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->Ask("x", std::chrono::seconds(60)).value_or(""), "x");
}

TEST(LinkProbe, AMissingSocketIsTold) {
  const test::Scratch scratch;
  EXPECT_THAT(WhyNoConnection("ipc://" + scratch.Path("none"), kPatience),
              HasSubstr("no socket " + scratch.Path("none")));
  EXPECT_THAT(WhyNoConnection("ipc://" + scratch.path(), kPatience), HasSubstr("is no socket"));
}

}  // namespace
}  // namespace tandem::replica
