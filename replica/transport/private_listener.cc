#include "replica/transport/private_listener.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "meta/base/private_files.h"

namespace tandem::replica {
namespace {

constexpr char kPrefix[] = "tandemfs-ssh.";
constexpr char kSocketName[] = "/socket";
constexpr int kBacklog = 16;

UniqueFd OpenDirectory(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Removes directories of ours that no process has locked.
void RemoveLeftBehind(const std::string& base) {
  const std::unique_ptr<DIR, int (*)(DIR*)> names(opendir(base.c_str()), &closedir);
  if (names == nullptr) return;
  while (const dirent* entry = readdir(names.get())) {
    if (std::strncmp(entry->d_name, kPrefix, sizeof kPrefix - 1) != 0) continue;
    const std::string path = base + "/" + entry->d_name;
    const UniqueFd directory = OpenDirectory(path);
    struct stat found;
    if (!directory.valid() || fstat(directory.get(), &found) != 0 || found.st_uid != geteuid() ||
        flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
      continue;
    }
    unlinkat(directory.get(), kSocketName + 1, 0);
    rmdir(path.c_str());
  }
}

// Returns the path of a new, locked directory; empty if none can be made in `base`.
std::string MakeDirectory(const std::string& base, UniqueFd& lock) {
  RemoveLeftBehind(base);
  // Another process may take the new directory for one left behind before it is locked.
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::string path = base + "/" + kPrefix + "XXXXXX";
    if (mkdtemp(path.data()) == nullptr) return "";
    lock = OpenDirectory(path);
    struct stat found;
    if (lock.valid() && flock(lock.get(), LOCK_EX | LOCK_NB) == 0 &&
        stat(path.c_str(), &found) == 0) {
      return path;
    }
    rmdir(path.c_str());
  }
  return "";
}

std::string Joined(const std::vector<std::string>& paths) {
  std::string text;
  for (const std::string& path : paths) text += (text.empty() ? "" : ", ") + path;
  return text;
}

bool IsOurOwn(const UniqueFd& connection) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  return getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.pid == getpid();
}

}  // namespace

std::vector<std::string> PrivateListener::UsualParents() {
  std::vector<std::string> parents;
  // Root may have it from a user, whose directory goes when the user logs out.
  const char* const given = std::getenv("XDG_RUNTIME_DIR");
  if (given != nullptr && *given == '/' && geteuid() != 0) parents.emplace_back(given);
  parents.insert(parents.end(), {"/run", "/tmp"});
  return parents;
}

Result<PrivateListener> PrivateListener::Make(const std::vector<std::string>& parents) {
  PrivateListener listener;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  for (const std::string& parent : parents) {
    const size_t size = parent.size() + std::strlen("/") + sizeof kPrefix + std::strlen("XXXXXX") +
                        sizeof kSocketName;
    if (size > sizeof address.sun_path) continue;
    listener.directory_ = MakeDirectory(parent, listener.lock_);
    if (!listener.directory_.empty()) break;
  }
  if (listener.directory_.empty()) {
    return ErrnoError("make a private directory in one of " + Joined(parents));
  }
  listener.path_ = listener.directory_ + kSocketName;
  std::strncpy(address.sun_path, listener.path_.c_str(), sizeof address.sun_path - 1);
  listener.socket_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.socket_.valid() ||
      bind(listener.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(listener.path_.c_str(), kPrivateFile) != 0 || listen(listener.fd(), kBacklog) != 0) {
    return ErrnoError("listen on " + listener.path_);
  }
  return listener;
}

PrivateListener::PrivateListener(PrivateListener&& other) noexcept
    : directory_(std::exchange(other.directory_, {})),
      path_(std::exchange(other.path_, {})),
      lock_(std::move(other.lock_)),
      socket_(std::move(other.socket_)) {}

PrivateListener::~PrivateListener() {
  if (directory_.empty()) return;
  if (!path_.empty()) unlink(path_.c_str());
  rmdir(directory_.c_str());
}

Result<UniqueFd> PrivateListener::Accept() {
  while (true) {
    UniqueFd connection(accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.valid()) {
      if (IsOurOwn(connection)) return connection;
      continue;
    }
    if (errno == EAGAIN) return connection;
    if (errno != EINTR && errno != ECONNABORTED) return ErrnoError("accept on " + path_);
  }
}

}  // namespace tandem::replica
