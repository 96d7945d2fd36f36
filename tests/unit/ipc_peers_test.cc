// Who may talk to an ipc socket.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "meta/base/unique_fd.h"
#include "replica/transport/transport.h"

namespace tandem::replica {
namespace {

// Whether a request over an ipc socket is answered, said without nng, which does not survive a
// fork. https://nanomsg.org/rfcs/sp-ipc-v1.html
bool AsksByHand(const std::string& path) {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return false;
  constexpr std::string_view kRequester("\0SP\0\0\x30\0\0", 8);
  constexpr std::string_view kRequest("\1\0\0\0\0\0\0\0\5\x80\0\0\1x", 14);
  char bytes[64];
  return write(fd.get(), kRequester.data(), kRequester.size()) == 8 &&
         recv(fd.get(), bytes, kRequester.size(), MSG_WAITALL) == 8 &&
         send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) == 14 &&
         read(fd.get(), bytes, sizeof bytes) > 0;
}

// The mode of the socket admits this user's processes, and those that may do everything to files.
TEST(IpcPeers, TheKernelTellsWhoseProcessAPeerIs) {
  if (geteuid() != 0) GTEST_SKIP() << "becomes another user: run it as root";
  const std::string path = "/tmp/tandem-test-" + std::to_string(getpid()) + ".sock";
  std::atomic<uid_t> user{0};
  std::atomic<bool> is_user{false};
  const auto server = ReplySocket::Listen(
      {"ipc://" + path}, 2, 1 << 20, [&](std::string_view request, const ConnectionRef& over) {
        user = over->peer().user;
        is_user = over->peer().kind == PeerIdentity::Kind::kUser;
        return std::string(request);
      });
  ASSERT_TRUE(server);
  struct stat found;
  ASSERT_EQ(stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
  const auto answered = [&path](uid_t as) {
    const pid_t child = fork();
    if (child == 0) {
      __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
      __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
      sets[0].effective = sets[0].permitted = 1U << CAP_DAC_OVERRIDE;
      prctl(PR_SET_KEEPCAPS, 1);
      if (setresuid(as, as, as) != 0 || syscall(SYS_capset, &header, sets) != 0) _exit(2);
      _exit(AsksByHand(path) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(answered(12'001), 0);
  EXPECT_EQ(user, 12'001u);
  EXPECT_TRUE(is_user);
  EXPECT_EQ(answered(0), 0);
  EXPECT_EQ(user, 0u);
}

}  // namespace
}  // namespace tandem::replica
