// The names under which a sender has sent sets of no moment (replica/PROTOCOL.md) in this run, and
// the cuts they were made from. Such a set brings a replica to no cut of the source: everything
// that has changed after the cut it was made from has still to be sent.
//
// Not thread-safe.
#pragma once

#include <algorithm>
#include <vector>

#include "meta/base/ids.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

class ThinNames {
 public:
  // Remembers that the set `name` was made from `base`. To be called before the set is committed:
  // the answer may be lost.
  void Add(const CutName& name, const CutName& base) {
    if (names_.size() >= kMaxThinNames) names_.erase(names_.begin());
    names_.push_back({name, base});
  }

  // Returns the cut that the set of this name was made from; `cut` itself if it is none of them.
  CutName RealCut(const CutName& cut) const {
    const auto found = std::ranges::find(names_, cut, &Name::name);
    return found == names_.end() ? cut : found->base;
  }

 private:
  struct Name {
    CutName name;
    CutName base;
  };

  std::vector<Name> names_;
};

}  // namespace tandem::replica
