// How an object that `tandemd import` has adopted is told from one that a source has described:
// its attributes are those of the copy, which has no ctime of the source's, and no cut has changed
// it. Plain functions: no thread rules.
#pragma once

#include "meta/base/ids.h"
#include "meta/source/attributes.h"

namespace tandem::replica {

// The cut that is recorded of an imported object. Its content is taken for the source's if kind,
// size and modification time are equal (as it is), or it is compared in any case. A Rekey adds
// kRekeyed: the object has the id that the source has for it, and keeps it.
inline constexpr Epoch kImportedAsItIs{0};
inline constexpr Epoch kImportedToCompare{1};
inline constexpr uint64_t kRekeyed = 2;

inline bool IsImported(const meta::Attributes& attributes, Epoch changed) {
  return changed.number() <= kImportedToCompare.number() + kRekeyed &&
         attributes.change_time == meta::Timestamp();
}

// Returns true if it has no id of the source's yet.
inline bool IsPlaceholder(const meta::Attributes& attributes, Epoch changed) {
  return changed <= kImportedToCompare && IsImported(attributes, changed);
}

inline bool IsTakenAsItIs(const meta::Attributes& attributes, Epoch changed) {
  return changed.number() % kRekeyed == kImportedAsItIs.number() && IsImported(attributes, changed);
}

}  // namespace tandem::replica
