// Takes in what the kernel holds of a mount (fs/held_stores.h) by a process of its own: this
// program, started with one hidden argument. It opens each file through the mount, by its handle,
// or by its path where it may not, and syncs it.
//
// Any thread.
#pragma once

#include <string_view>

#include "fs/held_stores.h"
#include "meta/base/result.h"
#include "tools/control.h"

namespace tandem::tools {

// The only argument of such a process. Its main calls RunTakeIn and returns what that returns.
inline constexpr char kTakeInArgument[] = "--take-in";
int RunTakeIn();

// Returns the files of which something may still be held: those that could not be synced, with a
// line in the log, and those that were not reached by the deadline.
std::vector<fs::HeldFile> TakeIn(const fs::HeldStores& held,
                                 std::chrono::steady_clock::time_point deadline);

Json ToJson(const fs::HeldStores& held);
Result<fs::HeldStores> HeldStoresFrom(const Json& json);

}  // namespace tandem::tools
