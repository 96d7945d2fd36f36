// The subcommands of tandem. Each returns the program's exit code, or an Error that says why it
// could not run (kUsage: what was asked makes no sense). Single-threaded.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

// Takes in what the kernel holds of the mount that answers at `socket`: stores that programs have
// made through mappings become writes now. kUnreachable if that is not done by the deadline.
Status FlushMount(const std::string& socket, std::chrono::steady_clock::time_point deadline);

struct StatusOptions {
  std::string mountpoint;  // empty: all
  bool json = false;
  bool watch = false;
};
// The exit codes of tools/mount_survey.h.
Result<int> RunStatus(const StatusOptions& options);

struct SyncOptions {
  std::string mountpoint;
  std::string replica;                   // empty: all
  std::chrono::milliseconds timeout{0};  // 0: none
};
// 0 in sync, 1 not in time. Says on stderr, as soon as it waits for one, which replica is paused,
// blocked or unreachable.
Result<int> RunSync(const SyncOptions& options);

struct PauseOptions {
  std::string mountpoint;
  std::string replica;
};
Result<int> RunPause(const PauseOptions& options, bool paused);

struct VerifyOptions {
  std::string mountpoint;
  std::vector<std::string> paths;
  std::string replica;
  bool full = false;
  bool repair = false;
  std::string hash = "xxh3";
  uint32_t block_size = 128 << 10;
  bool json = false;
};
Result<int> RunVerify(const VerifyOptions& options);

}  // namespace tandem::tools
