// The table of operations. Each is one function that draws what to do from
// the actor's random stream, does it, and reports every system call to the
// actor. Operations of one family stand together in workload_ops_FAMILY.cc.
#pragma once

#include <span>
#include <vector>

#include "tests/programs/lib/workload_actor.h"

namespace tandem::workload {

struct Op {
  const char* name;
  unsigned weight;  // How often, against the sum of all weights.
  void (*run)(Actor&);
  bool needs_root = false;
};

std::span<const Op> ContentOps();    // Writing bytes.
std::span<const Op> SpaceOps();      // Sizes, holes, allocation.
std::span<const Op> NameOps();       // Creating, linking, moving, removing.
std::span<const Op> AttributeOps();  // Modes, owners, times, xattrs, ACLs.
std::span<const Op> PatternOps();    // What editors, loggers, databases do.

// All of them, in an order that does not change within a build.
const std::vector<Op>& AllOps();

// Draws by weight among those that `config` allows.
class OpChooser {
 public:
  explicit OpChooser(const Config& config);

  bool empty() const { return total_weight_ == 0; }
  size_t Choose(programs::Random* random) const;  // An index into AllOps().

 private:
  std::vector<unsigned> weights_;
  uint64_t total_weight_ = 0;
};

}  // namespace tandem::workload
