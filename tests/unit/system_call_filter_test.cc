// The filter of system calls, in child processes, which it may end.
#include "tools/system_call_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace tandem::tools {
namespace {

constexpr int kNotLimited = 99;

// Runs `attempt` in a process that has limited itself, in a thread that was there before. Returns
// what waitpid says of the process; its exit code is what `attempt` returns.
int StatusOf(const std::function<int()>& attempt) {
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<bool> limited = false;
    std::atomic<int> result = 0;
    std::thread before([&] {
      while (!limited) usleep(1000);
      result = attempt();
    });
    if (!FilterSystemCalls()) _exit(kNotLimited);
    limited = true;
    before.join();
    _exit(result);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

class SystemCallFilter : public testing::Test {
 protected:
  void SetUp() override {
    if (!FiltersSystemCalls()) GTEST_SKIP() << "sanitizers use other system calls";
  }
  static void ExpectDeath(const char* what, const std::function<int()>& attempt) {
    const int status = StatusOf(attempt);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << what << ": " << status;
  }
  static void ExpectError(const char* what, int error, const std::function<int()>& attempt) {
    const int status = StatusOf([&attempt] { return attempt() < 0 ? errno : 0; });
    EXPECT_TRUE(WIFEXITED(status)) << what << ": " << status;
    EXPECT_EQ(WEXITSTATUS(status), error) << what;
  }
};

TEST_F(SystemCallFilter, EndsAProcessThatDoesWhatNoReplicaDoes) {
  ExpectDeath("execve", [] { return execl("/bin/true", "true", nullptr); });
  ExpectDeath("ptrace", [] { return static_cast<int>(ptrace(PTRACE_TRACEME, 0, 0, 0)); });
  ExpectDeath("mount", [] { return mount("none", "/nowhere", "tmpfs", 0, nullptr); });
  ExpectDeath("unshare", [] { return unshare(CLONE_NEWUSER); });
  ExpectDeath("chroot", [] { return chroot("/"); });
  ExpectDeath("setuid", [] { return static_cast<int>(syscall(SYS_setuid, 0)); });
  ExpectDeath("open_by_handle_at", [] {
    return static_cast<int>(syscall(SYS_open_by_handle_at, AT_FDCWD, nullptr, 0));
  });
  ExpectDeath("bpf", [] { return static_cast<int>(syscall(SYS_bpf, 0, nullptr, 0)); });
}

TEST_F(SystemCallFilter, LetsNoOtherProcessBeReached) {
  ExpectError("clone", ENOSYS,
              [] { return static_cast<int>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); });
  ExpectError("kill", ENOSYS, [] { return kill(getppid(), 0); });
  ExpectError("packet socket", ENOSYS, [] { return socket(AF_PACKET, SOCK_RAW, 0); });
  ExpectError("io_uring", ENOSYS,
              [] { return static_cast<int>(syscall(SYS_io_uring_setup, 1, nullptr)); });
}

TEST_F(SystemCallFilter, AllowsThreadsFilesAndConnections) {
  ExpectError("a thread", 0, [] {
    int made = 0;
    std::thread([&made] { made = 1; }).join();
    return made - 1;
  });
  ExpectError("a file", 0, [] {
    const int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 || fchmod(fd, 0640) != 0 || ftruncate(fd, 4096) != 0 || fsync(fd) != 0 ? -1 : 0;
  });
  ExpectError("a connection", 0, [] {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    return socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 && errno != EAFNOSUPPORT ? -1 : 0;
  });
}

}  // namespace
}  // namespace tandem::tools
