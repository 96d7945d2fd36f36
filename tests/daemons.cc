#include "tests/daemons.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "tests/files.h"

namespace tandem::test {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

// Exit codes of tandem status (tandem status --help) that come with an answer of tandemfs.
bool IsAnswer(int code) { return code == 0 || code == 3; }

AssertionResult Ended(Process& process, const std::string& what) {
  const auto code = process.Wait();
  if (!code) return AssertionFailure() << what << " does not end";
  if (*code != 0) {
    return AssertionFailure() << what << " ended with code " << *code << "\n" << process.err();
  }
  return AssertionSuccess();
}

bool IsFree(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return bound;
}

// Several tests run at once, and a port is free while its daemon is down. Reserves the port for as
// long as this process lives, by a name in the abstract namespace of Unix sockets. Returns false if
// another test has reserved it.
bool Reserve(uint16_t port) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "tandem-test-port-%d", port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return true;
  close(fd);
  return false;
}

void KillAndReap(std::unique_ptr<Process>& process) {
  if (process == nullptr) return;
  process->Signal(SIGKILL);
  process->Wait();
}

}  // namespace

uint16_t FreePort() {
  // Below those the kernel gives to connections.
  std::random_device random;
  std::uniform_int_distribution<uint16_t> ports(20'000, 30'000);
  while (true) {
    if (const uint16_t port = ports(random); Reserve(port) && IsFree(port)) return port;
  }
}

// ---- ReplicaDaemon -----------------------------------------------------------------------------

ReplicaDaemon::ReplicaDaemon(const Scratch& scratch, const std::string& name, std::string store)
    : store_(store.empty() ? scratch.Directory(name + ".store") : std::move(store)),
      url_("tcp://127.0.0.1:" + std::to_string(FreePort())) {}

AssertionResult ReplicaDaemon::Start(const Environment& environment) {
  std::vector<std::string> command = under_;
  command.insert(command.end(),
                 {Program("tandemd"), "--store", store_, "--listen", url_, "--insecure-plaintext"});
  if (!trusted_attributes_) command.push_back("--no-trusted-attributes");
  command.insert(command.end(), more_.begin(), more_.end());
  Launch launch{command, environment};
  if (user_) launch.user = *user_;
  process_ = std::make_unique<Process>(std::move(launch));
  const bool ready = WaitFor([this] {
    return process_->out().starts_with("tandemd: listening on") || !process_->running();
  });
  if (ready && process_->running()) return AssertionSuccess();
  return AssertionFailure() << "tandemd does not listen\n" << process_->out() << process_->err();
}

void ReplicaDaemon::Kill() { KillAndReap(process_); }

AssertionResult ReplicaDaemon::Stop() {
  process_->Signal(SIGTERM);
  return Ended(*process_, "tandemd");
}

AssertionResult ReplicaDaemon::Invite(const std::string& address, const std::string& file,
                                      const std::vector<std::string>& more,
                                      const Environment& environment) const {
  std::vector<std::string> command = {Program("tandemd"), "invite", "alice",   "--allow-special",
                                      "--address",        address,  "--store", store_};
  command.insert(command.end(), more.begin(), more.end());
  const Outcome invited = Execute(Launch{command, environment});
  if (invited.code != 0) return AssertionFailure() << invited;
  Write(file, invited.out);
  chmod(file.c_str(), 0600);
  return AssertionSuccess();
}

// ---- Mount -------------------------------------------------------------------------------------

Mount::~Mount() {
  KillAndReap(process_);
  DetachBelow(options_.mountpoint);
}

std::vector<std::string> Mount::CommandOf(const Options& options) {
  std::vector<std::string> command = options.under;
  command.insert(command.end(), {Program("tandemfs"), options.source, options.mountpoint, "-f",
                                 "--volume", options.volume, "--state", options.state});
  for (const std::string& replica : options.replicas) {
    command.insert(command.end(), {"--replica", replica});
  }
  // Which of the two ways requests come; the last -o counts.
  if (const char* const way = getenv("TANDEM_TEST_IO_URING")) {
    command.insert(command.end(), {"-o", std::string("io_uring=") + way});
  }
  command.insert(command.end(), options.more.begin(), options.more.end());
  return command;
}

AssertionResult Mount::Start(const Environment& environment) {
  Launch launch{Command(), options_.environment};
  launch.environment.insert(environment.begin(), environment.end());
  process_ = std::make_unique<Process>(launch);
  const bool ready = WaitFor([this] { return Answers() || !process_->running(); });
  if (ready && process_->running()) return AssertionSuccess();
  return AssertionFailure() << "tandemfs does not mount\n" << process_->err();
}

void Mount::Kill() { KillAndReap(process_); }

AssertionResult Mount::Unmount() {
  if (umount2(options_.mountpoint.c_str(), 0) != 0) {
    return AssertionFailure() << "umount " << options_.mountpoint << ": " << strerror(errno);
  }
  return Ended(*process_, "tandemfs");
}

bool Mount::Answers() {
  if (MountsBelow(options_.mountpoint).empty()) return false;
  // Not for long: it may have died meanwhile.
  return IsAnswer(Execute({Program("tandem"), "status", options_.mountpoint}, seconds(1)).code);
}

Outcome Mount::Tandem(const std::string& subcommand, std::vector<std::string> arguments) {
  std::vector<std::string> command = {Program("tandem"), subcommand, options_.mountpoint};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return Execute(std::move(command));
}

AssertionResult Mount::Sync(double timeout_seconds, const std::string& replica) {
  std::vector<std::string> arguments = {"--timeout", std::to_string(timeout_seconds)};
  if (!replica.empty()) arguments.insert(arguments.end(), {"--replica", replica});
  const Outcome outcome = Tandem("sync", arguments);
  if (outcome.code == 0) return AssertionSuccess();
  return AssertionFailure() << "tandem sync: " << outcome << Status().dump(2) << "\n"
                            << process_->err();
}

Outcome Mount::Verify(std::vector<std::string> arguments) {
  const auto has = [&](const char* option) { return std::ranges::count(arguments, option) != 0; };
  if (!has("--full") && !has("--resume")) arguments.emplace_back("--full");
  return Tandem("verify", std::move(arguments));
}

Outcome Mount::VerifyQuickly(std::vector<std::string> arguments) {
  return Tandem("verify", std::move(arguments));
}

Json Mount::Status() {
  const Outcome outcome = Tandem("status", {"--json"});
  if (!IsAnswer(outcome.code)) return nullptr;
  return Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
}

Json Mount::ReplicaStatus(size_t index) {
  const Json status = Status();
  if (!status.is_object() || !status.contains("replicas")) return Json::object();
  const Json& replicas = status["replicas"];
  return index < replicas.size() ? replicas[index] : Json::object();
}

std::string Mount::State(size_t index) { return ReplicaStatus(index).value("state", ""); }

std::string Mount::ReplicaError(size_t index) { return ReplicaStatus(index).value("error", ""); }

uint64_t Mount::SentBytes(size_t index) {
  return ReplicaStatus(index).value("sent_bytes", uint64_t{0});
}

bool Mount::WaitForState(const std::string& state, size_t index) {
  return WaitFor([&] { return State(index) == state; });
}

// ---- Comparing ---------------------------------------------------------------------------------

AssertionResult SameTrees(const std::string& a, const std::string& b,
                          std::vector<std::string> options) {
  std::vector<std::string> command = {Program("tests/compare_trees"), "--limit", "40"};
  command.insert(command.end(), options.begin(), options.end());
  command.insert(command.end(), {a, b});
  const Outcome outcome = Execute(std::move(command));
  if (outcome.code == 0) return AssertionSuccess();
  return AssertionFailure() << "compare_trees " << a << " " << b << ": " << outcome;
}

AssertionResult Converges(Mount& mount, const ReplicaDaemon& replica, const std::string& name) {
  if (auto synced = mount.Sync(120, name); !synced) return synced;
  return SameTrees(mount.options().source, replica.tree(mount.options().volume));
}

}  // namespace tandem::test
