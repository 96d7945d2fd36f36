// Takes in what the kernel holds of a mount (fs/writable_files.h) by a process of its own: this
// program, started with one hidden argument. It opens each file through the mount, by its handle,
// or by its path where it may not, and syncs it.
//
// Any thread.
#pragma once

#include <string_view>

#include "fs/writable_files.h"
#include "meta/base/result.h"
#include "tools/control.h"

namespace tandem::tools {

// The only argument of such a process. Its main calls RunFlushHelper and returns what that returns.
inline constexpr char kFlushHelperArgument[] = "--flush-files";
int RunFlushHelper();

// Returns the files of which something may still be writable: those that could not be synced, with a
// line in the log, and those that were not reached by the deadline.
std::vector<fs::WritableFile> FlushFiles(const fs::WritableFiles& writable,
                                 std::chrono::steady_clock::time_point deadline);

Json ToJson(const fs::WritableFiles& writable);
Result<fs::WritableFiles> WritableFilesFrom(const Json& json);

}  // namespace tandem::tools
