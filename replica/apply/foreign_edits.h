// Collects the changes that other programs made in a volume's tree/, as far as they are cheap to
// notice. Each time the source changes an object, the object in the tree is compared with what the
// catalog says the last redo left (replica/STORE.md). Reports each object once, in the log and in
// status. Any thread may call it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <unordered_set>

#include "meta/base/mutex.h"
#include "meta/source/attributes.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

class ForeignEdits {
 public:
  // `volume` is the name of the volume.
  explicit ForeignEdits(std::string volume) : volume_(std::move(volume)) {}

  // `what` is a phrase for users, such as "its size is 3, not 5".
  void Note(const std::string& path, const std::string& what) EXCLUDES(mutex_);
  // Returns the text for status, or an empty string if nothing was noted.
  std::string ToString() EXCLUDES(mutex_);

 private:
  const std::string volume_;
  Mutex mutex_;
  std::unordered_set<std::string> paths_ GUARDED_BY(mutex_);
  bool more_ GUARDED_BY(mutex_) = false;  // there are more than paths_ may have
  std::string last_ GUARDED_BY(mutex_);
};

// Filesystems differ in the range and the granularity of times. Returns true if `now` may be what
// became of `left` when it was set.
bool MayBeTheSame(const meta::Timestamp& left, const meta::Timestamp& now);

struct ForeignEdit {
  std::string what;      // as for Note; empty if there was no edit
  bool content = false;  // of content or of the names in a directory; if false, of the mode
};

// Compares an object with what the last redo left. Requires that it is still the inode that the
// catalog has.
ForeignEdit FindForeignEdit(const meta::Attributes& left, const struct stat& now);

}  // namespace tandem::replica
