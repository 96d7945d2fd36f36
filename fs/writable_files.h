// The files that are open for writing through a mount. Only these can have writes that the kernel
// still caches: stores through shared mappings, and with -o writeback all writes. (A mapping keeps
// its file open after the descriptor is closed. The last munmap and the last close write back.)
//
// To flush them, each file is synced through the mount. That is done by another process than the
// one that serves the mount, because the kernel cannot end a process that waits for its own reply.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tandem::fs {

struct WritableFile {
  // The kernel's name for the file. A file handle of the mount consists of these two.
  uint64_t node = 0;
  uint64_t generation = 0;
  // One of its names, below the root of the mount. For a removed file, its last name.
  std::string path;
};

struct WritableFiles {
  std::string device;       // of the mount: "major:minor", as in the mount table
  std::string mountpoint;   // where it was mounted
  bool with_times = false;  // the kernel caches times as well (-o writeback)
  std::vector<WritableFile> files;
};

// Flushes the files through the mount, until the deadline. Returns those for which it may not have
// flushed everything stored before the call. Must not be called by a thread that serves the mount.
using FlushFunction = std::function<std::vector<WritableFile>(
    const WritableFiles& files, std::chrono::steady_clock::time_point deadline)>;

}  // namespace tandem::fs
