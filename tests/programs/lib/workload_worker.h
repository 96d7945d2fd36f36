// Runs operations until told to stop, and counts what became of them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "tests/programs/lib/workload_config.h"
#include "tests/programs/lib/workload_ops.h"

namespace tandem::workload {

// Results and the order to stop live in memory shared with the parent
// process, hence plain fixed-size types.
struct OpCount {
  uint64_t succeeded = 0;
  uint64_t failed = 0;  // With an expected error.
};

struct WorkerReport {
  static constexpr size_t kMaxOps = 64;

  std::array<OpCount, kMaxOps> ops;
  uint64_t unexpected = 0;
  bool disconnected = false;
};

// The current directory must be the workload's. `log_fd` is -1 or open for
// appending. Runs in a thread of its own; `report` is its alone.
void RunWorker(const Config& config, int process, int thread, int log_fd,
               const std::atomic<bool>& stop, WorkerReport* report);

}  // namespace tandem::workload
