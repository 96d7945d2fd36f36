// Witnesses are a few objects whose change times are recorded when a run ends cleanly. If one of
// these times is different when the next run begins, SOURCE was changed in between (a backup was
// restored, files were edited behind the mount). Then the tables do not hold all changes.
//
// For the thread that starts and ends a run.
#pragma once

#include <vector>

#include "meta/source/source_tree.h"
#include "meta/state/state_database.h"

namespace tandem::meta {

// The number of witnesses besides the root. They are the objects that were changed last.
inline constexpr size_t kMaxWitnesses = 16;

// Returns the text to store in the `volume` table for these objects and the root. Requires that
// SOURCE does not change any more.
std::string DescribeWitnesses(const SourceTree& tree, const std::vector<ObjectRef>& objects);

struct Witnesses {
  std::vector<ObjectRef> objects;
  // True if every witness exists and has the recorded change time. Also true if none are recorded.
  bool agree = true;
};
// Compares the recorded change times with those of the objects now.
Result<Witnesses> CheckWitnesses(StateDatabase& database, const SourceTree& tree);

}  // namespace tandem::meta
