// Replaces a small file as a whole: a reader sees the old content or the new. Any thread;
// one at a time for each file.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem {

// `name` in the directory that `directory_fd` is open on (not O_PATH) becomes a new file with this
// content; it is written as NAME.new first. `durably`: on stable storage, content and name, when it
// returns. Without that a power cut may leave either file, or an empty one. After an error the old
// file stands, but for an error of the last sync.
Status ReplaceFile(int directory_fd, const std::string& name, std::string_view content, mode_t mode,
                   bool durably);
// The same by the file's path.
Status ReplaceFile(const std::string& path, std::string_view content, mode_t mode, bool durably);

}  // namespace tandem
