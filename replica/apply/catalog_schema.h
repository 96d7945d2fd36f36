// The tables of replica.db, and how older versions of them become the newest. replica/STORE.md
// describes them for people.
#pragma once

#include "meta/base/database.h"

namespace tandem::replica {

// Makes the tables in an empty database, and brings those of older versions up to date, durably.
// Returns kCorrupt if the tables are not those of any version, and kUsage if a newer tandemd wrote
// them.
Status PrepareCatalogSchema(Database& database);

}  // namespace tandem::replica
