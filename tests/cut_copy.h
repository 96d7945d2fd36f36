// What the proofs about databases share: a load notes numbers outside of the mount, and what the
// replica has is copied at one cut after another, with its daemon stopped, or killed. A copy must
// be a database with every number noted before its cut, and none without all before it.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/mount_fixture.h"

namespace tandem::test {

// Numbers 1, 2, 3 ... written into a database by one of the programs people use, each noted with
// the time once the database has said that it is committed. In the test's own thread.
class Ledger {
 public:
  // `command` reads SQL and prints what it selects, line by line. `transaction` is one line that
  // ends with printing the number; "?" stands for the number.
  Ledger(std::vector<std::string> command, const std::string& transaction);

  // Lines of NUMBER SECONDS.MICROSECONDS, so far.
  std::string noted() const { return process_.out(); }
  // Returns when the first number is noted. False: the database program has failed.
  bool Begins();
  // Lets it finish the transaction it is at. False: the database program has failed.
  ::testing::AssertionResult Stop();

 private:
  Process process_;
};

class CutsUnderLoad : public MountTest {
 protected:
  using Check = std::function<void(const std::string& copy, int64_t cut_time_ns)>;

  void SetUp() override;

  // At `rounds` random moments has a copy of what is at `below` in the replica's tree checked; in
  // every third round the daemon is killed, and comes back. Stops at the first failure.
  void CheckCuts(int rounds, const std::string& below, const Check& check);

  // What the copy's database holds: so many numbers, the largest `last`. `noted` as in Ledger.
  void ExpectWhole(int64_t count, int64_t last, const std::string& noted, int64_t cut_time_ns);

  std::mt19937_64 random_;
  int64_t last_seen_ = 0;

 private:
  // Copies it if the marker names a cut younger than `after_ns`; that cut's time, or 0. The daemon
  // must not be at work.
  int64_t CopyIfAtACut(const std::string& below, int64_t after_ns);
  int64_t CopyAtNextCut(const std::string& below);

  const std::string copy_ = scratch_.Path("copy");
  int64_t last_cut_ns_ = 0;
};

}  // namespace tandem::test
