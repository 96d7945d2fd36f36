// What most tests of a real mount need: a source, a mountpoint, a state directory, and one replica,
// all in a scratch directory. Skips aloud where there is no root or no /dev/fuse.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/daemons.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::test {

class MountTest : public ::testing::Test {
 protected:
  void SetUp() override;

  Mount::Options OptionsOf(const std::string& name) const;
  // Replica, then mount.
  ::testing::AssertionResult StartBoth();
  ::testing::AssertionResult Converges() { return test::Converges(mount_, replica_); }

  Scratch scratch_;
  const std::string source_ = scratch_.Directory("source");
  ReplicaDaemon replica_{scratch_, "replica"};
  Mount mount_{OptionsOf("mount")};
};

// Whether the long versions are asked for (TANDEM_TEST_LONG).
bool LongTests();
// `ci`, or so many in the long versions.
int Times(int ci, int in_long_tests);
// From TANDEM_TEST_SEED, or fresh; printed, so that a failure can be repeated.
uint64_t FreshSeed();

// Tells a workload that tolerates the end of its mount to stop. False: it did something unexpected.
::testing::AssertionResult StopWorkload(Process& workload);

// The workload program on `directory`; `arguments` beside --dir and --seed.
Launch Workload(const std::string& directory, uint64_t seed, std::vector<std::string> arguments);

}  // namespace tandem::test
