// Small files with keys in them, which only one user may read. Any thread; a writer of a file must
// exclude other writers of it (with a LockedFile beside it).
#pragma once

#include <string>
#include <string_view>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem {

// Reads the file. Returns kRefused, with a remedy, if other users may read or write it, if it
// belongs to another user than root and this process's (or, for root, the owner of its directory),
// or if it is larger than `limit`. A file that is missing is a kSystem error with ENOENT.
Result<std::string> ReadSecretFile(const std::string& path, size_t limit);

// Writes a new file PATH.new with mode 0600, syncs it, gives it the name, and syncs the directory:
// on return the content is on stable storage. A process that is killed in between leaves the old
// file, or none. If root writes it, it belongs to the owner of the directory.
Status WriteSecretFile(const std::string& path, std::string_view content);

// Makes a directory that only one user may enter, and its parents (0755) where they are missing. If
// root makes it, it belongs to the owner of its parent. Returns kRefused if there is one that other
// users may write to, or that belongs to another user.
Status EnsureSecretDirectory(const std::string& path);

// Holds flock(2) of a file, which it makes if there is none. Waits for at most ten seconds.
class LockedFile {
 public:
  static Result<LockedFile> Lock(const std::string& path);

 private:
  explicit LockedFile(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace tandem
