#include "tests/ssh_server.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/files.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

constexpr char kSshd[] = "/usr/sbin/sshd";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<pid_t> AllProcesses() {
  std::vector<pid_t> all;
  for (const auto& entry : stdfs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos) all.push_back(std::stoi(name));
  }
  return all;
}

pid_t ParentOf(pid_t pid) {
  const std::string stat = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  const size_t end_of_name = stat.rfind(") ");
  if (end_of_name == std::string::npos) return 0;
  char state = 0;
  pid_t parent = 0;
  std::istringstream(stat.substr(end_of_name + 2)) >> state >> parent;
  return parent;
}

std::vector<pid_t> Descendants(pid_t root) {
  std::map<pid_t, pid_t> parents;
  for (const pid_t pid : AllProcesses()) parents[pid] = ParentOf(pid);
  std::vector<pid_t> found;
  for (const auto& [pid, parent] : parents) {
    for (pid_t above = parent; above > 1; above = parents.contains(above) ? parents[above] : 0) {
      if (above == root) found.push_back(pid);
    }
  }
  return found;
}

}  // namespace

SshServer::SshServer(const Scratch& scratch, std::string address, std::vector<std::string> within)
    : directory_(scratch.Directory("ssh")),
      address_(std::move(address)),
      within_(std::move(within)),
      port_(FreePort()),
      path_(std::string(TANDEM_BIN_DIR) + ":/usr/bin:/bin") {
  if (!IsInstalled()) return;
  MakeKey("host_key");
  MakeKey("user_key");
  LetIn();
  WriteConfiguration();
}

bool SshServer::IsInstalled() { return access(kSshd, X_OK) == 0; }

void SshServer::MakeKey(const std::string& name) {
  unlink(At(name).c_str());
  const Outcome made = Execute({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", At(name)});
  EXPECT_EQ(made.code, 0) << made;
}

void SshServer::WriteConfiguration() {
  std::ostringstream server;
  server << "ListenAddress " << address_ << ":" << port_ << "\nHostKey " << At("host_key")
         << "\nAuthorizedKeysFile " << At("authorized_keys") << "\nPidFile none\n"
         << "StrictModes no\nUsePAM no\nPasswordAuthentication no\n"
         << "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
         << "PrintMotd no\nSetEnv PATH=" << path_ << "\n";
  Write(At("sshd_config"), server.str());
  if (!stdfs::exists(At("known_hosts"))) {
    std::string key = ReadFile(At("host_key.pub"));
    Write(At("known_hosts"), "[" + address_ + "]:" + std::to_string(port_) + " " + key);
  }
  std::ostringstream client;
  client << "Host backup\n  HostName " << address_ << "\n  Port " << port_
         << "\n  User root\nHost *\n"
         << "  UserKnownHostsFile " << At("known_hosts") << "\n  GlobalKnownHostsFile /dev/null\n"
         << "  IdentityFile " << At("user_key") << "\n  IdentitiesOnly yes\n"
         << "  StrictHostKeyChecking yes\n";
  Write(At("ssh_config"), client.str());
  Write(At("ssh"), "#!/bin/sh\nexec ssh -F " + At("ssh_config") + " \"$@\"\n");
  chmod(At("ssh").c_str(), 0755);
}

::testing::AssertionResult SshServer::Start() {
  mkdir("/run/sshd", 0755);  // where sshd's unprivileged part is confined
  std::vector<std::string> command = within_;
  command.insert(command.end(), {kSshd, "-D", "-e", "-f", At("sshd_config")});
  process_ = std::make_unique<Process>(Launch{command});
  const bool ready = WaitFor([this] {
    return process_->err().find("Server listening") != std::string::npos || !process_->running();
  });
  if (ready && process_->running()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "sshd does not listen\n" << process_->err();
}

void SshServer::Kill() {
  if (process_ == nullptr) return;
  process_->Signal(SIGSTOP);  // no new sessions
  WaitFor([this] { return process_->stopped(); });
  for (const pid_t pid : Descendants(process_->pid())) kill(pid, SIGKILL);
  process_->Signal(SIGKILL);
  process_->Wait();
}

Environment SshServer::ClientEnvironment() const { return {{"TANDEM_SSH", At("ssh")}}; }

void SshServer::LetIn(const std::string& options) {
  const std::string key = ReadFile(At("user_key.pub"));
  Write(At("authorized_keys"), options + (options.empty() ? "" : " ") + key);
}

void SshServer::LetNobodyIn() { Write(At("authorized_keys"), "# nobody\n"); }

void SshServer::ChangeHostKey() { MakeKey("host_key"); }

void SshServer::SetPath(const std::string& path) {
  path_ = path;
  WriteConfiguration();
}

std::vector<pid_t> SshServer::Clients() const {
  std::vector<pid_t> clients;
  for (const pid_t pid : AllProcesses()) {
    const std::string command = ReadFile("/proc/" + std::to_string(pid) + "/cmdline");
    if (command.find(At("ssh_config")) != std::string::npos) clients.push_back(pid);
  }
  return clients;
}

}  // namespace tandem::test
