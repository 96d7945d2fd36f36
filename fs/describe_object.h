// Extended attributes that are shown and not stored: tandem.NAME. They are not listed, so that a
// copy of a file does not get them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "meta/base/ids.h"

namespace tandem::fs {

// Returns the value of the attribute of an object; nullopt if there is none of that name. Called by
// the threads that serve requests.
using DescribeObject =
    std::function<std::optional<std::string>(std::string_view name, const ObjectId& object)>;

}  // namespace tandem::fs
