#include "fs/mount/mount_watcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <exception>
#include <system_error>
#include <utility>

#include "meta/base/log.h"
#include "meta/base/mount_table.h"

namespace tandem::fs {

Result<std::unique_ptr<MountWatcher>> MountWatcher::Start(int source_mount, std::string source,
                                                          std::function<void()> changed) {
  UniqueFd table(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  UniqueFd finish(eventfd(0, EFD_CLOEXEC));
  if (!table.valid() || !finish.valid()) return ErrnoError("watch the mount table");
  std::unique_ptr<MountWatcher> watcher(new MountWatcher(std::move(table), std::move(finish)));
  try {
    watcher->thread_ = std::thread([self = watcher.get(), source_mount, source = std::move(source),
                                    changed = std::move(changed)] {
      try {
        self->Watch(source_mount, source, changed);
      } catch (const std::exception& e) {
        LogError("exception while watching the mount table: {}", e.what());
      }
    });
  } catch (const std::system_error& e) {
    return ErrnoError(e.code().value(), "start the thread that watches the mount table");
  }
  return watcher;
}

MountWatcher::~MountWatcher() {
  if (!thread_.joinable()) return;
  eventfd_write(finish_.get(), 1);
  thread_.join();
}

void MountWatcher::Watch(int source_mount, const std::string& source,
                         const std::function<void()>& changed) {
  std::vector<std::string> known =
      MountsBelow(source_mount, source).value_or(std::vector<std::string>());
  pollfd watched[] = {{finish_.get(), POLLIN, 0}, {table_.get(), POLLPRI, 0}};
  while (true) {
    if (poll(watched, std::size(watched), -1) < 0 && errno != EINTR) {
      LogError("{}", ErrnoError("watch the mount table").value().ToString());
      return;
    }
    if (watched[0].revents != 0) return;
    Result<std::vector<std::string>> now = MountsBelow(source_mount, source);
    if (!now || *now == known) continue;
    known = std::move(*now);
    changed();
  }
}

}  // namespace tandem::fs
