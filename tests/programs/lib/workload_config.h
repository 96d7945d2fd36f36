// What a workload run is asked to do. Immutable once parsed; every thread
// reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tandem::workload {

struct Config {
  std::string directory;
  uint64_t seed = 0;

  // A run ends at whichever comes first; with neither, on SIGTERM or SIGINT.
  std::optional<uint64_t> seconds;
  std::optional<uint64_t> ops_per_thread;

  int processes = 1;
  int threads = 1;  // In each process.

  uint64_t max_file_bytes = 16 << 20;
  uint64_t max_objects = 2000;
  uint64_t max_total_bytes = 1 << 30;  // Allocated, not apparent.

  std::string log;                // Empty: no log.
  std::vector<std::string> only;  // Op names; empty: all.
  bool long_paths = false;
  bool tolerate_disconnect = false;
  bool tolerate_no_space = false;

  bool root = false;  // May mknod, chown, set capabilities.

  int workers() const { return processes * threads; }
};

// Nothing if the arguments are wrong (said on stderr) or help was asked for.
std::optional<Config> ParseConfig(int argc, char** argv);

}  // namespace tandem::workload
