#include "tests/process.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <ostream>
#include <thread>

namespace tandem::test {
namespace {

constexpr int kNotStarted = 127;

UniqueFd OutputFile() { return UniqueFd(memfd_create("output", MFD_CLOEXEC)); }

std::string ReadAll(int fd) {
  std::string text;
  char part[4096];
  for (ssize_t count;
       (count = pread(fd, part, sizeof part, static_cast<off_t>(text.size()))) > 0;) {
    text.append(part, static_cast<size_t>(count));
  }
  return text;
}

std::vector<std::string> EnvironmentWith(const std::map<std::string, std::string>& added) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  for (const auto& [name, value] : added) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void Die(const char* what) {
  perror(what);
  std::abort();
}

}  // namespace

bool WaitFor(const std::function<bool()>& condition, milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

std::ostream& operator<<(std::ostream& stream, const Outcome& outcome) {
  return stream << "exit code " << outcome.code << "\n" << outcome.out << outcome.err;
}

Process::Process(const Launch& launch) : out_(OutputFile()), err_(OutputFile()) {
  std::vector<std::string> arguments = launch.command;
  std::vector<std::string> environment = EnvironmentWith(launch.environment);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) {
    dup2(out_.get(), STDOUT_FILENO);
    dup2(err_.get(), STDERR_FILENO);
    if (!launch.directory.empty() && chdir(launch.directory.c_str()) != 0) _exit(kNotStarted);
    if (launch.user && (setgid(*launch.user) != 0 || setuid(*launch.user) != 0)) _exit(kNotStarted);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(kNotStarted);
    execvpe(argv[0], argv.data(), envp.data());
    perror(argv[0]);
    _exit(kNotStarted);
  }
  pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_.valid()) Die("pidfd_open");
}

Process::~Process() {
  if (code_) return;
  Signal(SIGKILL);
  if (!Wait()) std::cerr << "process " << pid_ << " does not die\n";
}

bool Process::stopped() const {
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task")) {
    std::ifstream file(thread.path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    // PID (NAME) STATE ...
    const size_t end_of_name = stat.rfind(") ");
    if (end_of_name == std::string::npos || stat[end_of_name + 2] != 'T') return false;
  }
  return true;
}

void Process::Signal(int number) {
  // Once reaped, the number may be another process's.
  if (!code_) kill(pid_, number);
}

std::optional<int> Process::Wait(milliseconds limit) {
  if (code_) return code_;
  const auto deadline = Clock::now() + limit;
  pollfd watched{pidfd_.get(), POLLIN, 0};
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    const int ready = poll(&watched, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) break;
    if (ready == 0 && Clock::now() >= deadline) return std::nullopt;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return code_;
}

std::string Process::out() const { return ReadAll(out_.get()); }
std::string Process::err() const { return ReadAll(err_.get()); }

Outcome Execute(const Launch& launch, milliseconds limit) {
  Process process(launch);
  if (!process.Wait(limit)) {
    process.Signal(SIGKILL);
    process.Wait();
  }
  return {process.Wait().value_or(-1), process.out(), process.err()};
}

Outcome Execute(std::vector<std::string> command, milliseconds limit) {
  return Execute(Launch{std::move(command)}, limit);
}

std::string Program(const std::string& name) { return std::string(TANDEM_BIN_DIR) + "/" + name; }

}  // namespace tandem::test
