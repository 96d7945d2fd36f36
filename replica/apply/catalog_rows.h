// Whether rows of replica.db hold what we write: a damaged one must not become an object that
// cannot be, or a name that leads out of the tree. A statement is only read. Any thread, as the
// statement.
#pragma once

#include <string_view>

#include "meta/base/database.h"

namespace tandem::replica {

// Columns 0 to 16 as Catalog::Find selects them.
bool IsObject(const Statement& row);
bool IsKindAt(const Statement& row, int column);
bool IsIdAt(const Statement& row, int column);
// A name that a directory can have.
bool IsName(std::string_view name);

}  // namespace tandem::replica
