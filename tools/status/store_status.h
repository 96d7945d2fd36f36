// tandem status --store: what a store of tandemd has, as its markers (replica/apply/marker.h) say.
// Whether tandemd runs does not matter. Single-threaded.
#pragma once

#include <string>

#include "meta/base/result.h"
#include "tools/control.h"

namespace tandem::tools {

// Returns {"store", "free_bytes", "total_bytes", "volumes": [{"account", "volume", "state",
// "epoch", "cut_time", "age_seconds"}]}: the account is empty for local ones; state is that of the
// marker, or "unknown" if it cannot be read; cut_time is in seconds since 1970, and missing if no
// cut is applied. Fails with kUsage if the directory is no store, or may not be read.
Result<Json> ReadStoreStatus(const std::string& store);

// Prints it. Returns the exit code of tandem status.
Result<int> PrintStoreStatus(const std::string& store, bool json);

}  // namespace tandem::tools
