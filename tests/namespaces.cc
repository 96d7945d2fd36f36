#include "tests/namespaces.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

namespace tandem::test {
namespace {

std::string NamespaceOf(const std::string& process) {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/" + process + "/ns/net", none).string();
}

}  // namespace

Host::Host() {
  // It ends with the test program, whatever becomes of that.
  holder_ = std::make_unique<Process>(Launch{{"unshare", "--net", "sleep", "infinity"}});
  const std::string ours = NamespaceOf("self");
  EXPECT_TRUE(WaitFor([&] {
    const std::string its = NamespaceOf(std::to_string(pid()));
    return !its.empty() && its != ours;
  })) << holder_->err();
  Run({"ip", "link", "set", "lo", "up"});
}

std::vector<std::string> Host::Within() const {
  return {"nsenter", "--net=/proc/" + std::to_string(pid()) + "/ns/net"};
}

void Host::Run(std::vector<std::string> command) const {
  std::vector<std::string> whole = Within();
  whole.insert(whole.end(), command.begin(), command.end());
  const Outcome outcome = Execute(std::move(whole), seconds(20));
  EXPECT_EQ(outcome.code, 0) << testing::PrintToString(command) << " " << outcome;
}

Cable::Cable(std::shared_ptr<const Host> near, int number)
    : near_(std::move(near)), number_(number) {
  Connect();
}

void Cable::Connect() {
  far_ = std::make_unique<const Host>();
  near_->Run({"ip", "link", "add", "name", NearDevice(), "type", "veth", "peer", "name", "eth0",
              "netns", std::to_string(far_->pid())});
  near_->Run({"ip", "address", "add", Address(1) + "/24", "dev", NearDevice()});
  far_->Run({"ip", "address", "add", Address(2) + "/24", "dev", "eth0"});
  near_->Run({"ip", "link", "set", NearDevice(), "up"});
  far_->Run({"ip", "link", "set", "eth0", "up"});
}

void Cable::ReplaceFar() {
  near_->Run({"ip", "link", "del", NearDevice()});
  Connect();
}

bool Cable::IsPossible() {
  const auto works = [](std::vector<std::string> command) {
    return Execute(std::move(command), seconds(20)).code == 0;
  };
  return geteuid() == 0 &&
         works({"unshare", "--net", "ip", "link", "add", "name", "x", "type", "veth", "peer",
                "name", "y"}) &&
         works({"unshare", "--net", "nft", "add", "table", "inet", "fault"});
}

void Cable::LoseAnswers() {
  near_->Run({"nft", "add table " + NearTable() + "; add chain " + NearTable() +
                         " f { type filter hook ingress device " + NearDevice() +
                         " priority 0; policy drop; }"});
}

void Cable::LoseRequests() {
  far_->Run({"nft",
             "add table netdev fault; add chain netdev fault f { type filter hook ingress device "
             "eth0 priority 0; policy drop; }"});
}

void Cable::Reset(int port) {
  far_->Run({"nft",
             "add table inet fault; add chain inet fault f { type filter hook input priority 0; }; "
             "add rule inet fault f tcp dport " +
                 std::to_string(port) + " reject with tcp reset"});
}

void Cable::Heal() {
  near_->Run({"nft", "add table " + NearTable() + "; delete table " + NearTable()});
  far_->Run({"nft", "flush ruleset"});
}

void Cable::SetRate(const std::string& rate) {
  near_->Run({"tc", "qdisc", "add", "dev", NearDevice(), "root", "tbf", "rate", rate, "burst",
              "32k", "latency", "400ms"});
}

void Cable::EndRate() { near_->Run({"tc", "qdisc", "del", "dev", NearDevice(), "root"}); }

void Cable::SetFarAddress(const std::string& from, const std::string& to) {
  far_->Run({"ip", "address", "del", from + "/24", "dev", "eth0"});
  far_->Run({"ip", "address", "add", to + "/24", "dev", "eth0"});
}

}  // namespace tandem::test
