// causal_writer make DIRECTORY THREADS: lays the directory out.
// causal_writer run DIRECTORY THREADS LOG: performs numbered operations (lib/causal.h) until
// SIGTERM.
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/programs/lib/causal.h"

namespace {

using tandem::programs::CausalLog;
using tandem::programs::MakeCausalTree;
using tandem::programs::RunCausalThread;

bool volatile stop = false;

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
  std::vector<std::string> failures(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back(
        [&, t] { failures[static_cast<size_t>(t)] = RunCausalThread(directory, t, log, stop); });
  }
  for (std::thread& thread : running) thread.join();
  bool failed = false;
  for (const std::string& failure : failures) {
    if (failure.empty()) continue;
    fprintf(stderr, "%s\n", failure.c_str());
    failed = true;
  }
  return failed ? 1 : 0;
}
