#include "tools/tandemd_relay.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "meta/base/log.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr char kName[] = "tandemd relay";
constexpr size_t kBufferBytes = 256 << 10;
constexpr int kUsageExit = 2;

std::string Advice(int code) {
  if (code == ENOENT || code == ECONNREFUSED) return " (is tandemd running on this host?)";
  if (code == EACCES) return " (this user must be in the socket's group, tandemd)";
  return "";
}

Result<UniqueFd> Connect(const std::string& path) {
  const std::string what = "connect to " + path;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ErrnoError(ENAMETOOLONG, what);
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError(what);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int code = errno;
    return ErrnoError(code, what + Advice(code));
  }
  return fd;
}

// Waits until `fd` has one of `events`. Returns false if `watched` has been hung up before that.
bool Await(int fd, short events, int watched) {
  while (true) {
    pollfd ready[] = {{fd, events, 0}, {watched, 0, 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return false;
    if (ready[0].revents != 0) return true;
    if (ready[1].revents != 0) return false;
  }
}

// Copies to the end of `from`, or until `to` takes no more. A `watched` descriptor that is hung up
// ends it too; -1: none.
void Copy(int from, int to, int watched) {
  std::string buffer(kBufferBytes, '\0');
  while (Await(from, POLLIN, watched)) {
    const ssize_t count = read(from, buffer.data(), buffer.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count <= 0) return;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = write(to, buffer.data() + done, static_cast<size_t>(count - done));
      if (written >= 0) done += written;
      if (written >= 0 || errno == EINTR) continue;
      if (errno != EAGAIN || !Await(to, POLLOUT, -1)) return;
    }
  }
}

}  // namespace

int RunRelay(int argc, char** argv) {
  std::string path = kDefaultSocket;
  CLI::App app(
      "Connects its standard input and output with tandemd's socket. For ssh: tandemfs\n"
      "runs it on this host for a replica ssh://HOST. To restrict a key to it, write\n"
      "restrict,command=\"tandemd relay\" before the key in ~/.ssh/authorized_keys.",
      kName);
  app.add_option("--socket", path, std::string("tandemd's socket. Default: ") + kDefaultSocket)
      ->type_name("PATH");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return ExitAfterOutput(kName, app.exit(e));
    Complain(kName, std::string(e.what()) + " (see tandemd relay --help)");
    return kUsageExit;
  }
  signal(SIGPIPE, SIG_IGN);
  const auto connected = Connect(path);
  if (!connected) {
    Complain(kName, connected.error().ToString());
    return EXIT_FAILURE;
  }
  const int server = connected->get();
  std::thread([server] {
    Copy(STDIN_FILENO, server, -1);
    shutdown(server, SHUT_WR);
  }).detach();
  // What is still to be answered is answered after the end of the input. When tandemd has ended the
  // connection, or nobody is left to read, it is over.
  Copy(server, STDOUT_FILENO, STDOUT_FILENO);
  _exit(EXIT_SUCCESS);
}

}  // namespace tandem::tools
