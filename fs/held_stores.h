// Stores that the kernel may still hold in its page cache: those through shared mappings, and with
// -o writeback every write. Only files that are open for writing have any: a mapping keeps its file
// open after the descriptor is closed, and the last unmapping and the last close write back.
//
// They are taken in by syncing each of these files through the mount, which a process other than
// the one that serves the mount has to do: the kernel cannot end a process that waits for its own
// answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tandem::fs {

struct HeldFile {
  // What the kernel knows it by. A file handle of the mount consists of these two.
  uint64_t node = 0;
  uint64_t generation = 0;
  // One of its names, below the root of the mount. Of a removed file the last one.
  std::string path;
};

struct HeldStores {
  std::string device;       // of the mount, "major:minor", as in the mount table
  std::string mountpoint;   // where it was mounted
  bool with_times = false;  // the kernel holds times as well
  std::vector<HeldFile> files;
};

// Syncs the files through the mount, until the deadline. Returns those of which it may not have
// taken in everything that was stored before the call. Any thread but those that serve the mount.
using TakeIn = std::function<std::vector<HeldFile>(const HeldStores& held,
                                                   std::chrono::steady_clock::time_point deadline)>;

}  // namespace tandem::fs
