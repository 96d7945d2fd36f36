// Notices when something is mounted below SOURCE, or unmounted: the kernel remembers for long where
// names lead, and is told then to ask anew.
//
// Its callback runs in a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

class MountWatcher {
 public:
  // `changed` is called whenever the mounts below the directory called `source`, on the mount
  // `source_mount`, are others than before.
  static Result<std::unique_ptr<MountWatcher>> Start(int source_mount, std::string source,
                                                     std::function<void()> changed);
  ~MountWatcher();
  MountWatcher(const MountWatcher&) = delete;
  MountWatcher& operator=(const MountWatcher&) = delete;

 private:
  MountWatcher(UniqueFd table, UniqueFd finish)
      : table_(std::move(table)), finish_(std::move(finish)) {}
  void Watch(int source_mount, const std::string& source, const std::function<void()>& changed);

  const UniqueFd table_;   // /proc/self/mountinfo, which poll(2) tells of changes
  const UniqueFd finish_;  // eventfd
  std::thread thread_;
};

}  // namespace tandem::fs
