// One stream of a backing directory, for a listing. Offsets are the backing filesystem's d_off, so
// rewinddir, seekdir and listings of a changing directory behave as they do there.
//
// One thread at a time.
#pragma once

#include <dirent.h>

#include <functional>
#include <memory>

#include "fs/objects/known_names.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

class OpenDirectory {
 public:
  explicit OpenDirectory(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  // Names for which this listing may still leave out the attributes.
  KnownNames& known_names() { return known_names_; }

  // Returns the d_off of the last entry consumed.
  off_t position() const { return position_; }
  // Returns whether the last Visit has come to the end of the directory.
  bool at_end() const { return at_end_; }

  // Calls `visit` with each entry after `offset`, which is 0 or the d_off of an earlier entry,
  // until it returns false. The entry for which it returned false comes first the next time.
  // Returns an error only if it occurs before the first entry.
  Status Visit(off_t offset, const std::function<bool(const dirent64&)>& visit);

 private:
  Status SeekTo(off_t offset);
  // Returns the next entry without consuming it, or null at the end.
  Result<const dirent64*> Peek();

  const UniqueFd fd_;
  KnownNames known_names_;
  // [begin_, end_) of buffer_ are the entries that getdents64 returned and that were not consumed.
  std::unique_ptr<char[]> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  off_t position_ = 0;
  bool at_end_ = false;
};

}  // namespace tandem::fs
