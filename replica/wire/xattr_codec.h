// Packs extended attributes into one string of bytes, as replica.db stores them: for each, in order
// of names, length of the name (4, little endian), name, length of the value (4), value. Any thread
// may call these functions.
#pragma once

#include <string>
#include <string_view>

#include "meta/base/result.h"
#include "meta/source/attributes.h"

namespace tandem::replica {

std::string PackXattrs(const meta::Xattrs& xattrs);
// Returns kCorrupt if `bytes` is not what PackXattrs writes.
Result<meta::Xattrs> UnpackXattrs(std::string_view bytes);

}  // namespace tandem::replica
