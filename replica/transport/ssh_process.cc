#include "replica/transport/ssh_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kEndPatience{1000};
constexpr size_t kRemembered = 4096;

// What posix_spawn does in the child.
class Preparation {
 public:
  Preparation(int connection, int errors) {
    posix_spawn_file_actions_init(&files_);
    posix_spawn_file_actions_adddup2(&files_, connection, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files_, connection, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files_, errors, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files_, STDERR_FILENO + 1);
    posix_spawn_file_actions_addchdir_np(&files_, "/");
    posix_spawnattr_init(&attributes_);
    // A group of its own: Ctrl-C is not for it, and it can be ended together with its children.
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes_, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes_, &signals);
  }
  Preparation(const Preparation&) = delete;
  ~Preparation() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }

  const posix_spawn_file_actions_t* files() const { return &files_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
};

int Poll(int fd, milliseconds patience) {
  pollfd awaited{fd, POLLIN, 0};
  int ready = 0;
  while ((ready = poll(&awaited, 1, static_cast<int>(patience.count()))) < 0 && errno == EINTR) {
  }
  return ready;
}

}  // namespace

std::vector<std::string> SshArguments(const SshUrl& url) {
  const char* const program = std::getenv("TANDEM_SSH");
  std::vector<std::string> arguments = {
      program != nullptr && *program != '\0' ? program : "ssh",
      // No terminal, agent or display for the other host; a connection of our own.
      "-T", "-a", "-x", "-S", "none"};
  for (const char* option :
       {"BatchMode=yes",  // never asks for anything
        "ConnectTimeout=8", "ConnectionAttempts=1", "ServerAliveInterval=5",
        "ServerAliveCountMax=3", "TCPKeepAlive=yes", "ClearAllForwardings=yes", "Tunnel=no",
        "PermitLocalCommand=no", "EscapeChar=none", "LogLevel=INFO",
        // What a configuration may say for people, and would break this. Older versions of ssh
        // do not know all of these.
        "IgnoreUnknown=RemoteCommand,ForkAfterAuthentication,StdinNull,SessionType",
        "RemoteCommand=none", "ForkAfterAuthentication=no", "StdinNull=no",
        "SessionType=default"}) {
    arguments.insert(arguments.end(), {"-o", option});
  }
  if (!url.user.empty()) arguments.insert(arguments.end(), {"-l", url.user});
  if (url.port != 0) arguments.insert(arguments.end(), {"-p", std::to_string(url.port)});
  arguments.insert(arguments.end(), {"--", url.host, "tandemd", "relay"});
  if (!url.socket.empty()) arguments.insert(arguments.end(), {"--socket", url.socket});
  return arguments;
}

Result<std::unique_ptr<SshProcess>> SshProcess::Start(const SshUrl& url,
                                                      const UniqueFd& connection) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return ErrnoError("make a pipe for ssh");
  UniqueFd errors(ends[0]);
  const UniqueFd theirs(ends[1]);
  fcntl(theirs.get(), F_SETFL, 0);  // ssh's children may not expect it

  std::vector<std::string> arguments = SshArguments(url);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const Preparation preparation(connection.get(), theirs.get());
  pid_t pid = 0;
  const int code = posix_spawnp(&pid, pointers[0], preparation.files(), preparation.attributes(),
                                pointers.data(), environ);
  if (code != 0) {
    return ErrnoError(code, "start " + arguments[0] + " to reach " + url.ToString() +
                                " (install ssh's client, or name another in TANDEM_SSH)");
  }
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    auto failed = ErrnoError("watch ssh");
    kill(-pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return failed;
  }
  return std::unique_ptr<SshProcess>(new SshProcess(pid, std::move(pidfd), std::move(errors)));
}

SshProcess::~SshProcess() {
  if (pid_ == 0) return;
  kill(-pid_, SIGTERM);
  if (!Ends(kEndPatience)) kill(-pid_, SIGKILL);
  // One that even this does not end waits for a disk. It is left behind.
  if (Ends(kEndPatience)) Reap();
}

bool SshProcess::Ends(milliseconds patience) const { return Poll(pidfd_.get(), patience) > 0; }

bool SshProcess::ReadErrors() {
  char bytes[1024];
  while (true) {
    const ssize_t count = read(errors_.get(), bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count <= 0) {
      errors_.Reset();
      return false;
    }
    said_.append(bytes, static_cast<size_t>(count));
    if (said_.size() > kRemembered) said_.erase(0, said_.size() - kRemembered);
  }
}

int SshProcess::Reap() {
  siginfo_t end = {};
  int result = 0;
  while ((result = waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED)) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return result == 0 && end.si_code == CLD_EXITED ? end.si_status : -1;
}

}  // namespace tandem::replica
