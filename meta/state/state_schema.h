// The schema of the state database (meta/SCHEMA.md), and the checks that detect a damaged one:
// missing tables or columns, an invalid schema number, rows with values that we never write. Only
// StateDatabase uses this, while it opens the database.
#pragma once

#include <cstdint>

#include "meta/base/database.h"
#include "meta/base/result.h"

namespace tandem::meta {

// The bit that dirty_attr.mask has in addition to those of AttributeMask: the whole object is
// dirty.
inline constexpr int64_t kWholeBit = 4;

// Creates the tables, or migrates them to the current schema. Returns kCorrupt if the tables do not
// match the schema number, and kRefused if that number is higher than this program knows.
Status MigrateState(Database& database);
// Returns kCorrupt if a row holds a value that we never write.
Status CheckStateRows(Database& database);
// Returns kCorrupt if a row holds the handle of another object than its own.
Status CheckStateHandles(Database& database);

}  // namespace tandem::meta
