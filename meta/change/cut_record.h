// A cut as the state database remembers it.
#pragma once

#include <cstdint>

#include "meta/base/ids.h"

namespace tandem::meta {

struct CutRecord {
  CutName name;
  int64_t wall_time_ns = 0;
};

}  // namespace tandem::meta
