// Flushes the files that are open for writing through a mount (fs/writable_files.h), by a process
// of its own: this program, started with one hidden argument. It opens each file through the mount,
// by handle, or by path if it may not open handles, and syncs it.
//
// Any thread.
#pragma once

#include <string_view>

#include "fs/writable_files.h"
#include "meta/base/result.h"
#include "tools/control.h"

namespace tandem::tools {

// The only argument of that process. Its main returns RunFlushHelper().
inline constexpr char kFlushHelperArgument[] = "--flush-files";
int RunFlushHelper();

// Returns the files that may not be flushed: those that could not be synced, which are logged, and
// those not reached by the deadline.
std::vector<fs::WritableFile> FlushFiles(const fs::WritableFiles& writable,
                                         std::chrono::steady_clock::time_point deadline);

Json ToJson(const fs::WritableFiles& writable);
Result<fs::WritableFiles> WritableFilesFrom(const Json& json);

}  // namespace tandem::tools
