// The subcommands of tandem. Each returns the program's exit code, or an Error if it could not run
// (kUsage: the arguments are wrong). Single-threaded.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

// Flushes the files open for writing of the mount that answers at `socket`, so that stores through
// mappings become writes now. Fails with kUnreachable if that takes longer than the deadline.
Status FlushMount(const std::string& socket, std::chrono::steady_clock::time_point deadline);

struct StatusOptions {
  std::string mountpoint;                // empty: all mounts
  std::string store;                     // shows a store of tandemd instead
  std::string wait;                      // "current" or "seeded": returns when all replicas are
  std::chrono::milliseconds timeout{0};  // of `wait`; 0: no limit
  bool json = false;
  bool watch = false;
  bool check = false;  // one line, and exit codes, for monitoring
  std::chrono::milliseconds warn{60'000};
  std::chrono::milliseconds critical{600'000};
};
// Returns an exit code of tools/mount_survey.h; with `check` 0 to 3, as Nagios expects.
Result<int> RunStatus(const StatusOptions& options);

struct SyncOptions {
  std::string mountpoint;
  std::string replica;                   // empty: all replicas
  std::chrono::milliseconds timeout{0};  // 0: no limit
};
// Returns 0 if the replicas are in sync; fails on timeout, for which the exit code is 1. While it
// waits for a replica that is paused, blocked or unreachable, it says so on stderr.
Result<int> RunSync(const SyncOptions& options);

struct PauseOptions {
  std::string mountpoint;
  std::string replica;
  std::chrono::milliseconds time{0};  // 0: until it is resumed
};
Result<int> RunPause(const PauseOptions& options, bool paused);

struct EventsOptions {
  std::string mountpoint;
  bool follow = false;
  std::string command;  // run by the shell for each event, which is its stdin
};
// Prints one JSON object a line: events that have come so far, or, with `follow`, those to come.
Result<int> RunEvents(const EventsOptions& options);

struct SetOptions {
  std::string mountpoint;
  std::string replica;
  std::string interval;
  std::string bandwidth;
  std::string log_level;
};
Result<int> RunSet(const SetOptions& options);

// Says what was changed, and what is used from the next start on.
Result<int> RunReload(const std::string& mountpoint);

struct ReplicaOptions {
  std::string mountpoint;
  std::string name;
  std::string value;  // of add: [NAME=]URL|@FILE; of rename and set-url: the new name or URL
  bool json = false;
};
Result<int> RunReplicaList(const ReplicaOptions& options);
Result<int> RunReplicaAdd(const ReplicaOptions& options);
Result<int> RunReplicaRemove(const ReplicaOptions& options);
Result<int> RunReplicaRename(const ReplicaOptions& options);
Result<int> RunReplicaSetUrl(const ReplicaOptions& options);

struct VerifyOptions {
  std::string mountpoint;
  std::vector<std::string> paths;
  std::string replica;
  bool full = false;
  bool drop_caches = false;
  bool repair = false;
  std::string hash = "xxh3";
  uint32_t block_size = 128 << 10;
  bool allocation = false;
  bool resume = false;     // goes on with what was interrupted; paths and what is compared are its
  uint64_t rate = 0;       // bytes of content a second; 0: no limit
  uint64_t file_rate = 0;  // files a second; 0: no limit
  bool json = false;       // one JSON object a line
};
Result<int> RunVerify(const VerifyOptions& options);

}  // namespace tandem::tools
