// The schema of the state database (meta/SCHEMA.md), and what tells a database that cannot be
// trusted: tables or columns that are missing, a schema number that cannot be, rows that hold what
// we never write. Used by StateDatabase alone, while it opens.
#pragma once

#include <cstdint>

#include "meta/base/database.h"
#include "meta/base/result.h"

namespace tandem::meta {

// dirty_attr.mask: AttributeMask, and this.
inline constexpr int64_t kWholeBit = 4;

// Makes the tables, or brings them up to date. kCorrupt if they are not those of their schema,
// kRefused if that is newer than this program.
Status MigrateState(Database& database);
// kCorrupt if a row holds what we never write.
Status CheckStateRows(Database& database);
// kCorrupt if a handle is not that of the object it stands for.
Status CheckStateHandles(Database& database);

}  // namespace tandem::meta
