// What can be known of a TCP connection whose descriptor somebody else has.
#include "replica/transport/tcp_progress.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "meta/base/unique_fd.h"
#include "tests/process.h"

namespace tandem::replica {
namespace {

class TcpPair {
 public:
  TcpPair() : near_(Socket()) {
    const UniqueFd listener = Socket();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(0, bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size));
    EXPECT_EQ(0, listen(listener.get(), 1));
    EXPECT_EQ(0, getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size));
    EXPECT_EQ(0, connect(near_.get(), reinterpret_cast<sockaddr*>(&address), size));
    far_.Reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    remote_port_ = ntohs(address.sin_port);
    EXPECT_EQ(0, getsockname(near_.get(), reinterpret_cast<sockaddr*>(&address), &size));
    local_port_ = ntohs(address.sin_port);
  }
  void FollowIn(TcpProgress& progress) const { progress.Follow(local_port_, remote_port_); }
  UniqueFd& near() { return near_; }
  UniqueFd& far() { return far_; }

 private:
  static UniqueFd Socket() { return UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

  UniqueFd near_;
  UniqueFd far_;
  uint16_t local_port_ = 0;
  uint16_t remote_port_ = 0;
};

TEST(TcpProgress, BytesOfBothDirectionsCount) {
  TcpPair connection;
  TcpProgress progress;
  connection.FollowIn(progress);
  const uint64_t before = progress.Bytes().value();
  const std::string text(1000, 'x');
  ASSERT_EQ(1000, send(connection.near().get(), text.data(), text.size(), 0));
  EXPECT_TRUE(test::WaitFor([&] { return progress.Bytes().value() >= before + 1000; }));
  ASSERT_EQ(1000, send(connection.far().get(), text.data(), text.size(), 0));
  EXPECT_TRUE(test::WaitFor([&] { return progress.Bytes().value() >= before + 2000; }));
  connection.near().Reset();
  EXPECT_FALSE(progress.Bytes()) << "it is closed";
}

TEST(TcpProgress, OfNoConnectionIsUnknown) {
  TcpProgress progress;
  EXPECT_FALSE(progress.Bytes());
  progress.Follow(1, 1);
  EXPECT_FALSE(progress.Bytes());
}

}  // namespace
}  // namespace tandem::replica
