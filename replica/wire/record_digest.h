// A digest by which two hosts see whether they speak of an object in the same state: XXH3-64 of all
// fields of its record but the time of the last access, which reading alone changes. Any thread.
#pragma once

#include <cstdint>

#include "replica/wire/messages.h"

namespace tandem::replica {

uint64_t DigestOf(const ObjectRecord& record);

}  // namespace tandem::replica
