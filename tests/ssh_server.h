// A private sshd, on the loopback interface unless told otherwise, with keys and a configuration of
// its own, and an ssh client that knows it as host "backup". Nothing of the machine's own
// configuration is used or changed. Needs root and openssh-server.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/daemons.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::test {

class SshServer {
 public:
  // Listens on this address, run by the command `within` ("nsenter --net=...") if there is one.
  explicit SshServer(const Scratch& scratch, std::string address = "127.0.0.1",
                     std::vector<std::string> within = {});

  static bool IsInstalled();
  // Returns when it accepts connections.
  ::testing::AssertionResult Start();
  // Ends it and its sessions at once.
  void Kill();

  // What the environment of tandemfs must have to use the client's configuration and key.
  Environment ClientEnvironment() const;
  // Lets in the client's key, with these options before it in authorized_keys.
  void LetIn(const std::string& options = {});
  void LetNobodyIn();
  // Gives sshd another host key from the next start on.
  void ChangeHostKey();
  // Where sshd looks for programs, from the next start on. At first: this build's, and the usual.
  void SetPath(const std::string& path);
  // The processes of its clients.
  std::vector<pid_t> Clients() const;
  std::string log() const { return process_ == nullptr ? "" : process_->err(); }
  uint16_t port() const { return port_; }

 private:
  std::string At(const std::string& name) const { return directory_ + "/" + name; }
  void MakeKey(const std::string& name);
  void WriteConfiguration();

  const std::string directory_;
  const std::string address_;
  const std::vector<std::string> within_;
  const uint16_t port_;
  std::string path_;
  std::unique_ptr<Process> process_;
};

}  // namespace tandem::test
