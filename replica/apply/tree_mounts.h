// Notices a mount on a volume's tree/ or inside it: a redo would stop at it, and readers of the
// replica do not see what is beneath it. Any thread may call it.
#pragma once

#include <string>

#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"

namespace tandem::replica {

class TreeMounts {
 public:
  // Borrows `volume_fd`, the directory STORE/VOLUME. Its path is looked up at each check.
  explicit TreeMounts(int volume_fd);

  // Returns a text for users that says what is mounted there, or an empty string if nothing is.
  // Costs one poll(2) as long as nothing is mounted or unmounted anywhere.
  std::string Look() EXCLUDES(mutex_);

 private:
  std::string Read() const;

  const int volume_fd_;
  Mutex mutex_;
  const UniqueFd table_;
  bool known_ GUARDED_BY(mutex_) = false;
  std::string found_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
