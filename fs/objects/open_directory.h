// A directory that an application has open: one stream of the backing directory. Offsets are the
// backing filesystem's d_off, so rewinddir, seekdir and listings of a changing directory behave as
// they do there.
//
// Any thread. The kernel sends the reads of an open directory one at a time, so no thread ever
// waits for the mutex. It is there for the compiler's thread safety analysis.
#pragma once

#include <dirent.h>

#include <functional>
#include <memory>

#include "fs/objects/known_names.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

class OpenDirectory {
 public:
  explicit OpenDirectory(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  // Names for which this listing may still leave out the attributes.
  KnownNames& known_names() { return known_names_; }

  // Calls `visit` with each entry after `offset`, which is 0 or the d_off of an earlier entry,
  // until it returns false. The entry for which it returned false comes first the next time.
  // Returns an error only if it occurs before the first entry.
  Status Visit(off_t offset, const std::function<bool(const dirent64&)>& visit) EXCLUDES(mutex_);

 private:
  Status SeekTo(off_t offset) REQUIRES(mutex_);
  // Returns the next entry without consuming it, or null at the end.
  Result<const dirent64*> Peek() REQUIRES(mutex_);

  const UniqueFd fd_;
  KnownNames known_names_;
  Mutex mutex_;
  // [begin_, end_) of buffer_ are the entries that getdents64 returned and that were not consumed.
  std::unique_ptr<char[]> buffer_ GUARDED_BY(mutex_);
  size_t begin_ GUARDED_BY(mutex_) = 0;
  size_t end_ GUARDED_BY(mutex_) = 0;
  // The d_off of the last entry consumed.
  off_t position_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::fs
