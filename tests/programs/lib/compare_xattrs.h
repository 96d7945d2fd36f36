// Extended attributes of every namespace the caller may see, ACLs included.
#pragma once

#include "tests/programs/lib/compare_object.h"

namespace tandem::compare {

void CompareXattrs(const ObjectPair& pair, Report* report);

}  // namespace tandem::compare
