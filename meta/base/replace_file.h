// Replaces a small file atomically: a reader sees either the old or the new content. Any thread,
// but only one at a time for each file.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem {

// Writes `content` to a new file NAME.new in the directory `directory_fd` (which must not be an
// O_PATH descriptor), and gives it the name `name`. If `durably`, content and name are on stable
// storage on return; otherwise a power cut may leave either file, or an empty one. After an error
// the old file is unchanged, unless only a step after the rename failed (removing the old file, the
// fsync of the directory).
Status ReplaceFile(int directory_fd, const std::string& name, std::string_view content, mode_t mode,
                   bool durably);
// Does the same for the file at `path`.
Status ReplaceFile(const std::string& path, std::string_view content, mode_t mode, bool durably);

}  // namespace tandem
