#include "tests/mount_fixture.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <random>

namespace tandem::test {

void MountTest::SetUp() {
  if (geteuid() != 0) GTEST_SKIP() << "mounts as root: run it as root";
  if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/fuse is not there";
}

Mount::Options MountTest::OptionsOf(const std::string& name) const {
  Mount::Options options;
  options.source = source_;
  options.mountpoint = scratch_.Directory(name);
  options.state = scratch_.Path(name + ".state");
  options.replicas = {"one=" + replica_.url()};
  return options;
}

::testing::AssertionResult MountTest::StartBoth() {
  if (auto started = replica_.Start(); !started) return started;
  return mount_.Start();
}

bool LongTests() {
  const char* value = std::getenv("TANDEM_TEST_LONG");
  return value != nullptr && *value != '\0' && *value != '0';
}

int Times(int ci, int in_long_tests) { return LongTests() ? in_long_tests : ci; }

uint64_t FreshSeed() {
  const char* given = std::getenv("TANDEM_TEST_SEED");
  std::random_device device;
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : device();
  std::cout << "seed " << seed << " (repeat it with TANDEM_TEST_SEED=" << seed << ")\n";
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  return seed;
}

::testing::AssertionResult StopWorkload(Process& workload) {
  constexpr int kDisconnected = 3;
  // By the signal itself, if it came before the workload listened for it.
  constexpr int kTerminated = 128 + SIGTERM;
  workload.Signal(SIGTERM);
  const auto code = workload.Wait();
  const bool never_began = workload.err().find("cannot enter") != std::string::npos;
  if (code == 0 || code == kDisconnected || code == kTerminated || never_began) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "the workload ended with code " << code.value_or(-1) << "\n"
         << workload.err();
}

Launch Workload(const std::string& directory, uint64_t seed, std::vector<std::string> arguments) {
  std::vector<std::string> command = {Program("tests/workload"), "--dir", directory, "--seed",
                                      std::to_string(seed)};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return Launch{std::move(command)};
}

}  // namespace tandem::test
