// The kinds of cell of a causal directory, and how a number is put into one and read from it.
// Used by lib/causal.cc alone. One thread at a time for each directory of a thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/programs/lib/fd.h"

namespace tandem::programs {

class CausalCells {
 public:
  // `directory` is one thread's.
  explicit CausalCells(std::string directory) : directory_(std::move(directory)) {}

  // All cells hold 0. Empty: done.
  std::string Make();
  // Empty: done. `before` is what the cell holds.
  std::string Put(int cell, uint64_t before, uint64_t number);
  // Nothing: the cell holds no number at all; `why` says what was there.
  std::optional<uint64_t> Get(int cell, std::string& why) const;

 private:
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

  const std::string directory_;
};

}  // namespace tandem::programs
