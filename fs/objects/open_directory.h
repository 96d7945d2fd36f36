// A directory an application has open: one stream of the backing directory. Offsets are the backing
// filesystem's own (d_off), so rewinddir, seekdir and listing while entries come and go behave as
// they do there.
//
// The kernel sends the reads of one open directory one at a time; the mutex, which therefore never
// makes anybody wait, is what tells the compiler so.
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
  // Those not yet met by this listing.
  KnownNames& known_names() { return known_names_; }

  // Passes the entries from `offset` (0, or the d_off of one seen before) to `visit` until it
  // returns false: that entry comes again next time. An error is returned only if it came before
  // the first entry.
  Status Visit(off_t offset, const std::function<bool(const dirent64&)>& visit) EXCLUDES(mutex_);

 private:
  Status SeekTo(off_t offset) REQUIRES(mutex_);
  // The next entry, null at the end.
  Result<const dirent64*> Peek() REQUIRES(mutex_);

  const UniqueFd fd_;
  KnownNames known_names_;
  Mutex mutex_;
  // What getdents64 returned and was not yet consumed: [begin_, end_) of buffer_.
  std::unique_ptr<char[]> buffer_ GUARDED_BY(mutex_);
  size_t begin_ GUARDED_BY(mutex_) = 0;
  size_t end_ GUARDED_BY(mutex_) = 0;
  // The d_off of the last entry consumed.
  off_t position_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::fs
