// Notices what is mounted on a volume's tree/, or inside it: a redo would stop at it, and what
// stands beneath is hidden from readers of the replica. Any thread.
#pragma once

#include <string>

#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"

namespace tandem::replica {

class TreeMounts {
 public:
  // `volume_fd` is borrowed: STORE/VOLUME, wherever that is found by then.
  explicit TreeMounts(int volume_fd);

  // What is mounted there, for people; empty: nothing is. One poll(2), as long as nothing is
  // mounted or unmounted anywhere.
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
