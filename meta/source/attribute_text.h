// Attributes as the differences that verify and scrub report show them. Any thread may call these
// functions.
#pragma once

#include <cstdint>
#include <string>

#include "meta/source/attributes.h"

namespace tandem::meta {

// Returns the permissions as at least four octal digits.
std::string ModeText(uint32_t permissions);
// Returns UID:GID.
std::string OwnerText(const Attributes& attributes);
// Returns seconds since 1970, with nine digits of nanoseconds.
std::string TimeText(const Timestamp& time);

}  // namespace tandem::meta
