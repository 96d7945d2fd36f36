// Hosts of a network of their own, for tests: network namespaces joined by a veth pair. Files are
// shared with the test. Needs root, and iproute2 and nftables. When an object goes, or the test
// program is killed, its namespace goes with everything in it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/process.h"

namespace tandem::test {

class Host {
 public:
  Host();

  // The command under which a program runs on this host.
  std::vector<std::string> Within() const;
  // Runs a command on it, to the end. That it fails is a failure of the test.
  void Run(std::vector<std::string> command) const;
  pid_t pid() const { return holder_->pid(); }

 private:
  std::unique_ptr<Process> holder_;
};

// A cable between two hosts. Used by the test's own thread.
class Cable {
 public:
  static constexpr char kNear[] = "10.77.0.1";
  static constexpr char kFar[] = "10.77.0.2";

  Cable();
  // Whether this machine has what that takes.
  static bool IsPossible();

  const Host& near() const { return near_; }
  const Host& far() const { return far_; }

  // Pulled out at the far end, as the near end sees it.
  void Pull() { far_.Run({"ip", "link", "set", "eth0", "down"}); }
  void PlugIn() { far_.Run({"ip", "link", "set", "eth0", "up"}); }
  // What the far host sends is lost on the way, which neither kernel notices.
  void LoseAnswers();
  // Every packet to this port of the far host is answered by a reset.
  void Reset(int port);
  void Heal();
  // Towards the far host. Once.
  void SetRate(const std::string& rate);
  void SetFarAddress(const std::string& from, const std::string& to);

 private:
  const Host near_;
  const Host far_;
};

}  // namespace tandem::test
