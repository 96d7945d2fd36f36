// causal_writer make DIRECTORY THREADS: lays the directory out.
// causal_writer run DIRECTORY THREADS LOG: performs numbered operations (lib/causal.h) until
// SIGTERM, from where the last run has got to. Exit code 3: the mount has died.
#include <signal.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/programs/lib/bus_guard.h"
#include "tests/programs/lib/causal.h"
#include "tests/programs/lib/expected_errors.h"

namespace {

using tandem::programs::CausalLog;
using tandem::programs::MakeCausalTree;
using tandem::programs::ReadCausalTree;
using tandem::programs::ResumeCausalLog;
using tandem::programs::RunCausalThread;

constexpr int kDisconnected = 3;

std::atomic<bool> stop = false;  // lock-free: set by a signal

// Of what it is asked nothing is cached.
bool IsDead(const std::string& mount) {
  struct statvfs found;
  return statvfs(mount.c_str(), &found) != 0 && tandem::workload::IsDisconnect(errno);
}

}  // namespace

int main(int argc, char** argv) {
  const bool make = argc == 4 && strcmp(argv[1], "make") == 0;
  const bool run = argc == 5 && strcmp(argv[1], "run") == 0;
  if (!make && !run) {
    fprintf(stderr, "usage: %s make DIRECTORY THREADS | run DIRECTORY THREADS LOG\n", argv[0]);
    return 2;
  }
  const std::string directory = argv[2];
  const int threads = atoi(argv[3]);
  if (make) {
    const std::string failure = MakeCausalTree(directory, threads);
    if (!failure.empty()) fprintf(stderr, "%s\n", failure.c_str());
    return failure.empty() ? 0 : 1;
  }
  signal(SIGTERM, [](int) { stop = true; });
  CausalLog log(argv[4], threads);
  std::vector<uint64_t> reached;
  const std::string before = ReadCausalTree(directory, threads, reached);
  if (!before.empty()) {
    fprintf(stderr, "cannot go on from here: %s\n", before.c_str());
    return IsDead(directory) ? kDisconnected : 1;
  }
  ResumeCausalLog(log, reached);
  tandem::programs::InstallBusGuard();
  std::vector<std::string> failures(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      const auto i = static_cast<size_t>(t);
      failures[i] = RunCausalThread(directory, t, reached[i], log, stop);
    });
  }
  for (std::thread& thread : running) thread.join();
  bool failed = false;
  for (const std::string& failure : failures) {
    if (failure.empty()) continue;
    fprintf(stderr, "%s\n", failure.c_str());
    failed = true;
  }
  if (!failed) return 0;
  return IsDead(directory) ? kDisconnected : 1;
}
