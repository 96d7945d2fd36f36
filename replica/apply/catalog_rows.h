// Checks rows of replica.db: a damaged row must not become an impossible object, or a name that
// leads out of the tree. The functions only read the statement, on the thread that uses it.
#pragma once

#include <string_view>

#include "meta/base/database.h"

namespace tandem::replica {

// Requires columns 0 to 16 as Catalog::Find selects them.
bool IsObject(const Statement& row);
bool IsKindAt(const Statement& row, int column);
bool IsIdAt(const Statement& row, int column);
// Returns true if a directory can have an entry of this name.
bool IsName(std::string_view name);

}  // namespace tandem::replica
