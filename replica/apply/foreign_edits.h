// What somebody else has changed in a volume's tree/, as far as it is cheap to notice: each time
// the source changes an object, what stands there is compared with what the catalog says the last
// redo left (replica/STORE.md). Said in the log and in status, once for each object. Any thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <unordered_set>

#include "meta/attributes.h"
#include "meta/base/mutex.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

class ForeignEdits {
 public:
  // `volume`: its name.
  explicit ForeignEdits(std::string volume) : volume_(std::move(volume)) {}

  // `what`: a phrase for people, such as "its size is 3, not 5".
  void Note(const std::string& path, const std::string& what) EXCLUDES(mutex_);
  // For status; empty if there is nothing to say.
  std::string ToString() EXCLUDES(mutex_);

 private:
  const std::string volume_;
  Mutex mutex_;
  std::unordered_set<std::string> paths_ GUARDED_BY(mutex_);
  bool more_ GUARDED_BY(mutex_) = false;  // than paths_ may hold
  std::string last_ GUARDED_BY(mutex_);
};

struct ForeignEdit {
  std::string what;      // as for Note; empty: none was found
  bool content = false;  // or of the names in a directory; otherwise of the mode
};

// Compares an object, which still is the inode the catalog knows, with what the last redo left.
ForeignEdit FindForeignEdit(const meta::Attributes& left, const struct stat& now);

}  // namespace tandem::replica
