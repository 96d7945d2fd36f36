// The modes of the daemons' own files and directories. A user who may not read a file on the source
// must not be able to read it in a store, a database or a log either (invariant 12).
#pragma once

#include <sys/types.h>

#include <string>

namespace tandem {

inline constexpr mode_t kPrivateFile = 0600;
inline constexpr mode_t kPrivateDirectory = 0700;

// Sets the permission bits (0777) of an existing file or directory to `mode` and logs it if they
// differed: an older version or the umask may have left it readable for others. Does nothing if
// `path` does not exist or is a symbolic link. Logs a warning if the mode cannot be changed, for
// example on a filesystem without modes.
void EnsureMode(const std::string& path, mode_t mode);

}  // namespace tandem
