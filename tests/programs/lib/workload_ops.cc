#include "tests/programs/lib/workload_ops.h"

#include <algorithm>

namespace tandem::workload {
namespace {

std::vector<Op> Concatenate(std::initializer_list<std::span<const Op>> families) {
  std::vector<Op> all;
  for (const auto& family : families) {
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

bool Allowed(const Op& op, const Config& config) {
  if (op.needs_root && !config.root) return false;
  return config.only.empty() ||
         std::find(config.only.begin(), config.only.end(), op.name) != config.only.end();
}

}  // namespace

const std::vector<Op>& AllOps() {
  static const auto& all = *new std::vector<Op>(
      Concatenate({ContentOps(), SpaceOps(), NameOps(), AttributeOps(), PatternOps()}));
  return all;
}

OpChooser::OpChooser(const Config& config) {
  for (const Op& op : AllOps()) {
    weights_.push_back(Allowed(op, config) ? op.weight : 0);
    total_weight_ += weights_.back();
  }
}

size_t OpChooser::Choose(programs::Random* random) const {
  uint64_t left = random->Below(total_weight_);
  size_t index = 0;
  while (left >= weights_[index]) left -= weights_[index++];
  return index;
}

}  // namespace tandem::workload
