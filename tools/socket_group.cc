#include "tools/socket_group.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "meta/base/log.h"

namespace tandem::tools {
namespace {

constexpr char kScheme[] = "ipc://";
constexpr char kGroup[] = "tandemd";

// Calls `act` with the path of each socket.
void ForEachSocket(const std::vector<std::string>& urls, const auto& act) {
  for (const std::string& url : urls) {
    if (url.starts_with(kScheme)) act(url.substr(sizeof kScheme - 1));
  }
}

}  // namespace

void MakeSocketDirectories(const std::vector<std::string>& urls) {
  ForEachSocket(urls, [](const std::string& path) {
    (void)mkdir(path.substr(0, path.rfind('/')).c_str(), 0755);
  });
}

void GiveSocketsToGroup(const std::vector<std::string>& urls) {
  const group* const found = getgrnam(kGroup);
  if (found == nullptr) return;
  ForEachSocket(urls, [found](const std::string& path) {
    if (lchown(path.c_str(), static_cast<uid_t>(-1), found->gr_gid) != 0) {
      LogWarning("{}", ErrnoError("give " + path + " to group " + kGroup).value().ToString());
    }
  });
}

}  // namespace tandem::tools
