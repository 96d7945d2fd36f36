// The frozen cuts for which operations may have to keep what they alter
// (meta/capture/frozen_cut.h).
//
// The gate is the lock: Add is called only while the gate is closed, everything else only inside
// it.
#pragma once

#include <memory>
#include <vector>

#include "meta/capture/capture.h"
#include "meta/capture/frozen_cut.h"

namespace tandem::meta {

class CutsInFlight {
 public:
  using Cuts = std::vector<std::shared_ptr<FrozenCut>>;

  // Adds a cut. Returns those for which nothing needs to be kept any more; to free them may take
  // long, so the caller does it after the gate is open.
  [[nodiscard]] Cuts Add(std::shared_ptr<FrozenCut> cut);

  bool empty() const { return cuts_.empty(); }
  // Keeps for each cut what an operation with this intent may alter. A cut for which that cannot be
  // kept is given up.
  void Preserve(const Intent& intent) const;
  // Keeps the object, which may be about to lose its last name. `path_fd` is borrowed.
  void PreserveUnlinked(const ObjectId& object, int path_fd) const;

 private:
  Cuts cuts_;  // oldest first
};

}  // namespace tandem::meta
