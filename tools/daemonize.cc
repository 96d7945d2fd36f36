#include "tools/daemonize.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace tandem::tools {
namespace {

[[noreturn]] void WaitForChild(int from_child, pid_t child) {
  char ready = 0;
  ssize_t count;
  do {
    count = read(from_child, &ready, 1);
  } while (count < 0 && errno == EINTR);
  if (count == 1) _exit(EXIT_SUCCESS);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  // The child has written the reason to stderr, unless it was killed.
  _exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
}

}  // namespace

Result<Background> Background::Enter() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("make pipe");
  UniqueFd from_child(ends[0]);
  UniqueFd to_parent(ends[1]);
  const pid_t child = fork();
  if (child < 0) return ErrnoError("fork");
  if (child > 0) {
    to_parent.Reset();
    WaitForChild(from_child.get(), child);
  }
  if (setsid() < 0) return ErrnoError("start session");
  return Background(std::move(to_parent));
}

Status Background::Ready() {
  if (!parent_.valid()) return {};
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return ErrnoError("open /dev/null");
  if (chdir("/") != 0) return ErrnoError("change directory to /");
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (dup2(null.get(), stream) < 0) return ErrnoError("redirect standard streams");
  }
  const char ready = 1;
  if (write(parent_.get(), &ready, 1) != 1) return ErrnoError("tell parent");
  parent_.Reset();
  return {};
}

}  // namespace tandem::tools
