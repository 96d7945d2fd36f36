// The bytes of two regular files. Where both have a hole nothing is read, so
// huge sparse files are quick.
#pragma once

#include "tests/programs/lib/compare_object.h"

namespace tandem::compare {

// Reports the first byte that differs, up to the smaller of the two sizes.
void CompareContent(const ObjectPair& pair, Report* report);

}  // namespace tandem::compare
