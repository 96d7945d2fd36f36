// The modes of what the daemons keep for themselves. Whoever may not read a file on the source may
// not read it in a store, a database or a log either.
#pragma once

#include <sys/types.h>

#include <string>

namespace tandem {

inline constexpr mode_t kPrivateFile = 0600;
inline constexpr mode_t kPrivateDirectory = 0700;

// Gives a file or directory that is there the permissions `mode` (0777), and says so in the log if
// it had others: an older version, or an umask, may have left it open. Symbolic links are left
// alone. What cannot be changed, on a filesystem without modes, is warned of.
void EnsureMode(const std::string& path, mode_t mode);

}  // namespace tandem
