// The names a workload uses. They come from a small fixed pool, the same in
// every directory and for every thread, so that independent threads meet on
// the same names, and the tree stays bounded, without shared bookkeeping.
#pragma once

#include <string>
#include <string_view>

#include "tests/programs/lib/random.h"

namespace tandem::workload {

// Relative to the workload's directory, never absolute; "." is that directory.
struct Path {
  std::string bytes;

  bool HasParent() const { return bytes.find('/') != std::string::npos; }
};

Path operator/(const Path& parent, std::string_view name);

class NamePool {
 public:
  // About `objects_per_area` names are reachable below an area.
  explicit NamePool(uint64_t objects_per_area);

  // Ordinary names, names of 255 bytes, with newline and backslash, not UTF-8,
  // and such as trip shells.
  std::string File(programs::Random* random) const;
  std::string Directory(programs::Random* random) const;

 private:
  uint64_t file_names_;
};

// An area is a directory directly below the root: one a worker, and one which
// all of them share.
Path SharedArea();
Path OwnArea(int process, int thread);

}  // namespace tandem::workload
