// Extended attributes as one string of bytes, as replica.db keeps them: for each, in order of
// names, length of the name (4, little endian), name, length of the value (4), value. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "meta/attributes.h"
#include "meta/base/result.h"

namespace tandem::replica {

std::string PackXattrs(const meta::Xattrs& xattrs);
// kCorrupt on anything PackXattrs does not write.
Result<meta::Xattrs> UnpackXattrs(std::string_view bytes);

}  // namespace tandem::replica
