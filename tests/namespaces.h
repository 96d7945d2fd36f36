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

// A cable between two hosts, a network of its own. Used by the test's own thread.
class Cable {
 public:
  // The addresses of the cable with number 0.
  static constexpr char kNear[] = "10.77.0.1";
  static constexpr char kFar[] = "10.77.0.2";

  // Between two new hosts.
  Cable() : Cable(std::make_shared<const Host>(), 0) {}
  // From a host that may have other cables, with other numbers, to a new one.
  Cable(std::shared_ptr<const Host> near, int number);
  // Whether this machine has what that takes.
  static bool IsPossible();

  const Host& near() const { return *near_; }
  const Host& far() const { return *far_; }
  std::string far_address() const { return Address(2); }

  // Pulled out at the far end, as the near end sees it.
  void Pull() { far_->Run({"ip", "link", "set", "eth0", "down"}); }
  void PlugIn() { far_->Run({"ip", "link", "set", "eth0", "up"}); }
  // What the far host sends is lost on the way, which neither kernel notices.
  void LoseAnswers();
  // The same of what the near host sends.
  void LoseRequests();
  // Every packet to this port of the far host is answered by a reset.
  void Reset(int port);
  // Ends the three above.
  void Heal();
  // Towards the far host.
  void SetRate(const std::string& rate);
  void EndRate();
  void SetFarAddress(const std::string& from, const std::string& to);
  // Takes the far host away and puts a new one in its place, with its address. Whatever runs there
  // must have ended.
  void ReplaceFar();

 private:
  std::string Address(int host) const {
    return "10.77." + std::to_string(number_) + "." + std::to_string(host);
  }
  std::string NearDevice() const { return "eth" + std::to_string(number_); }
  // The table of this cable's rules at the near host.
  std::string NearTable() const { return "netdev fault" + std::to_string(number_); }
  void Connect();

  const std::shared_ptr<const Host> near_;
  const int number_;
  std::unique_ptr<const Host> far_;
};

}  // namespace tandem::test
