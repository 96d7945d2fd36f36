// What operations on file content have in common.
#pragma once

#include <sys/stat.h>

#include "tests/programs/lib/workload_actor.h"

namespace tandem::workload {

struct Extent {
  off_t offset = 0;
  size_t length = 0;

  std::string Text() const { return std::to_string(offset) + "+" + std::to_string(length); }
};

// Opens for reading or writing; never blocks, and opens nothing but regular
// files, whatever has taken the name meanwhile. `flags` as of open(2).
programs::Fd OpenFile(Actor& actor, const Path& path, int flags, mode_t mode = 0644);

// Opens, runs `body(fd)`, closes; reports how opening and closing went.
template <typename Body>
void WithFile(Actor& actor, const Path& path, int flags, Body body) {
  programs::Fd fd = OpenFile(actor, path, flags);
  if (!fd.ok()) return;
  body(fd.get());
  actor.Try("close", fd.Close());
}

off_t FileSize(Actor& actor, int fd);

// A transfer's length: mostly small, sometimes whole pages; at most 256 KiB.
size_t RandomLength(Actor& actor);

// Around what the file has (before, across or a little past its end), but
// never beyond the largest file size allowed.
Extent RandomExtent(Actor& actor, int fd);
// The same on 4 KiB boundaries; the length is not 0.
Extent AlignedExtent(Actor& actor, int fd);

// Writes random bytes there.
bool WriteExtent(Actor& actor, int fd, Extent extent);

// Makes sure that `growth` more bytes are allowed, by truncating if need be.
bool MakeRoom(Actor& actor, int fd, size_t growth);

// One of fsync, fdatasync, sync_file_range, syncfs, or, mostly, nothing.
void MaybeSync(Actor& actor, int fd);

}  // namespace tandem::workload
