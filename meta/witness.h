// Witnesses: a few objects whose change times are written down when a run ends in order. If one of
// them is another when the next run begins, somebody changed SOURCE while nobody watched (a backup
// was put back, files were edited behind the mount): the tables then are not all that differs.
//
// For the thread that starts and ends a run.
#pragma once

#include <vector>

#include "meta/source_tree.h"
#include "meta/state_database.h"

namespace tandem::meta {

// So many objects, beside the root, are watched: those changed last.
inline constexpr size_t kMaxWitnesses = 16;

// Nothing may change SOURCE any more. The text is for the `volume` table.
std::string DescribeWitnesses(const SourceTree& tree, const std::vector<ObjectRef>& objects);

struct Witnesses {
  std::vector<ObjectRef> objects;
  // Each is there, and was last changed when it was written down to have been. Nothing written
  // down: nothing contradicts it.
  bool agree = true;
};
Result<Witnesses> CheckWitnesses(StateDatabase& database, const SourceTree& tree);

}  // namespace tandem::meta
