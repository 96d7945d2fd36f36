// What an honest source and its replica daemon bear while somebody attacks the daemon: syncs stay
// quick, memory stays within bounds, and what the attack took is given back when it is over.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "tests/daemons.h"
#include "tests/process.h"

namespace tandem::test {

// What a process holds.
struct Held {
  uint64_t memory = 0;  // resident bytes
  size_t descriptors = 0;
};
std::ostream& operator<<(std::ostream& stream, const Held& held);
Held HeldBy(const Process& process);

// tests/programs/hostile_client. Not from the address of this host's sources, since peers are
// counted by address.
Launch AttackOn(const std::string& url, const std::string& mode,
                std::vector<std::string> options = {});

class Endurance {
 public:
  // Both outlive it.
  Endurance(Mount& mount, ReplicaDaemon& replica) : mount_(mount), replica_(replica) {}

  // Notes how things are without an attack.
  void Begin();
  // Runs the attack while the source writes, then waits until what it took is given back.
  void Endure(const Launch& attack, bool until_given_back = true, milliseconds time = seconds(1));
  // Writes a little and syncs, again and again. Returns how long the slowest sync took.
  milliseconds SlowestSync(milliseconds time);

 private:
  void ExpectGivenBack();

  Mount& mount_;
  ReplicaDaemon& replica_;
  milliseconds usual_{0};
  Held before_;
  uint64_t writes_ = 0;
};

}  // namespace tandem::test
