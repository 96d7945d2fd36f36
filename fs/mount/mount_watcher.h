// Watches the mount table for filesystems mounted or unmounted below SOURCE, so that the kernel can
// be told to look up names again that it has cached. Its callback runs in a thread of its own.
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
  // Calls `changed` whenever the set of mounts below the directory `source`, on the mount with id
  // `source_mount`, has changed.
  static Result<std::unique_ptr<MountWatcher>> Start(int source_mount, std::string source,
                                                     std::function<void()> changed);
  ~MountWatcher();
  MountWatcher(const MountWatcher&) = delete;
  MountWatcher& operator=(const MountWatcher&) = delete;

 private:
  MountWatcher(UniqueFd table, UniqueFd finish)
      : table_(std::move(table)), finish_(std::move(finish)) {}
  void Watch(int source_mount, const std::string& source, const std::function<void()>& changed);

  const UniqueFd table_;   // /proc/self/mountinfo: poll(2) reports changes
  const UniqueFd finish_;  // eventfd
  std::thread thread_;
};

}  // namespace tandem::fs
