// As services of systemd: both daemons say when they are ready, that they live, and when they stop.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

// What systemd listens at.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& path) : path_(path) {
    fd_.Reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  Environment environment() const {
    return {{"NOTIFY_SOCKET", path_}, {"WATCHDOG_USEC", "300000"}};
  }
  // Whether it has been told so, by now.
  bool Heard(const std::string& what) {
    char text[4096];
    for (ssize_t size = 0; (size = recv(fd_.get(), text, sizeof text, 0)) > 0;) {
      heard_ += std::string(text, static_cast<size_t>(size)) + "\n";
    }
    return heard_.find(what) != std::string::npos;
  }
  void Forget() { heard_.clear(); }

 private:
  const std::string path_;
  UniqueFd fd_;
  std::string heard_;
};

using Service = MountTest;

TEST_F(Service, BothDaemonsTellSystemdHowTheyAre) {
  NotifySocket of_replica(scratch_.Path("replica.notify"));
  NotifySocket of_mount(scratch_.Path("mount.notify"));
  ASSERT_TRUE(replica_.Start(of_replica.environment()));
  ASSERT_TRUE(mount_.Start(of_mount.environment()));
  for (NotifySocket* socket : {&of_replica, &of_mount}) {
    EXPECT_TRUE(WaitFor([&] { return socket->Heard("READY=1"); }));
    EXPECT_TRUE(WaitFor([&] { return socket->Heard("WATCHDOG=1"); }));
    socket->Forget();
    EXPECT_TRUE(WaitFor([&] { return socket->Heard("WATCHDOG=1"); })) << "again and again";
  }
  Write(mount_.path() + "/file", "text");
  EXPECT_TRUE(Converges());
  ASSERT_TRUE(mount_.Unmount());
  EXPECT_TRUE(of_mount.Heard("STOPPING=1"));
  ASSERT_TRUE(replica_.Stop());
  EXPECT_TRUE(of_replica.Heard("STOPPING=1"));
}

}  // namespace
}  // namespace tandem::test
