#include "tools/control.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "meta/base/private_files.h"
#include "meta/base/unique_fd.h"
#include "tools/unix_connection.h"

namespace tandem::tools {
namespace {

constexpr char kSuffix[] = ".sock";

std::string RuntimeDirectory() {
  if (geteuid() == 0) return "/run/tandemfs";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/tandemfs";
  return "/tmp/tandemfs-" + std::to_string(geteuid());
}

Result<std::string> Exchange(const std::string& socket, const std::string& request,
                             UnixConnection::Clock::time_point deadline) {
  ASSIGN_OR_RETURN(UnixConnection connection, UnixConnection::Connect(socket, deadline));
  RETURN_IF_ERROR(connection.Send(request, deadline));
  return connection.Receive(kMaxAnswerBytes, deadline);
}

// The inverse of ControlServer::Answer.
ErrorKind KindOf(const std::string& name) {
  if (name == "usage") return ErrorKind::kUsage;
  return name == "in vain" ? ErrorKind::kGivenUp : ErrorKind::kRefused;
}

// The owner of the directory could answer in place of a tandemfs.
tl::unexpected<Error> NotOurs(const std::string& path) {
  return MakeError(ErrorKind::kUsage, "use " + path +
                                          " for control sockets (it is not a directory that only "
                                          "you may write to: remove it)");
}

}  // namespace

Result<std::string> ControlDirectory(bool create) {
  const std::string path = RuntimeDirectory();
  if (create && mkdir(path.c_str(), kPrivateDirectory) != 0 && errno != EEXIST) {
    return ErrnoError("make directory " + path);
  }
  // O_NOFOLLOW: a symlink could be exchanged.
  const UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid() && errno == ENOENT && !create) return path;
  struct stat found;
  if (!directory.valid() || fstat(directory.get(), &found) != 0) return NotOurs(path);
  if (found.st_uid != geteuid()) return NotOurs(path);
  if ((found.st_mode & 077) == 0) return path;
  if (create && fchmod(directory.get(), kPrivateDirectory) == 0) return path;
  if ((found.st_mode & 022) != 0) return NotOurs(path);
  return path;
}

std::string ControlSocket(const std::string& directory, const std::string& mountpoint) {
  const uint64_t hash = XXH3_64bits(mountpoint.data(), mountpoint.size());
  char name[24];
  snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash));
  return directory + "/" + name + kSuffix;
}

std::string ControlLock(const std::string& socket) { return socket + ".lock"; }

bool ControlIsServed(const std::string& socket) {
  const UniqueFd lock(open(ControlLock(socket).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  return lock.valid() && flock(lock.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

Result<std::vector<std::string>> AllControlSockets() {
  std::vector<std::string> sockets;
  ASSIGN_OR_RETURN(const std::string directory, ControlDirectory(/*create=*/false));
  struct Closer {
    void operator()(DIR* open) const { closedir(open); }
  };
  const std::unique_ptr<DIR, Closer> open(opendir(directory.c_str()));
  while (open != nullptr) {
    const dirent* entry = readdir(open.get());
    if (entry == nullptr) break;
    const std::string socket = directory + "/" + entry->d_name;
    if (socket.ends_with(kSuffix) && ControlIsServed(socket)) sockets.push_back(socket);
  }
  std::sort(sockets.begin(), sockets.end());
  return sockets;
}

std::string AbsolutePath(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) != nullptr) return resolved;
  std::string absolute = path;
  if (!path.starts_with('/') && getcwd(resolved, sizeof resolved) != nullptr) {
    absolute = std::string(resolved) + "/" + path;
  }
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  return absolute;
}

Result<std::string> FindControlSocket(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string directory, ControlDirectory(/*create=*/false));
  const std::string canonical = AbsolutePath(path);
  for (std::string at = canonical; !at.empty();) {
    const std::string socket = ControlSocket(directory, at);
    if (access(socket.c_str(), F_OK) == 0) return socket;
    const size_t slash = at.rfind('/');
    at.resize(at == "/" ? 0 : std::max<size_t>(slash, 1));
  }
  return MakeError(ErrorKind::kUsage, "no tandemfs of yours is mounted at " + canonical +
                                          " (tandem status lists those that are)");
}

Result<Json> AskControl(const std::string& socket, const Json& request, int timeout_ms) {
  if (!ControlIsServed(socket)) {
    return MakeError(ErrorKind::kUnreachable,
                     "the tandemfs that listened at " + socket + " has ended: start it again");
  }
  const auto answer = Exchange(
      socket, Dump(request), UnixConnection::Clock::now() + std::chrono::milliseconds(timeout_ms));
  if (!answer) {
    return MakeError(ErrorKind::kUnreachable, "tandemfs does not answer at " + socket + " (" +
                                                  answer.error().ToString() +
                                                  "): is it still running?");
  }
  Json reply = Json::parse(*answer, nullptr, /*allow_exceptions=*/false);
  if (!reply.is_object())
    return MakeError(
        ErrorKind::kProtocol,
        "the reply at " + socket + " is not a JSON object: is another program listening there?");
  if (reply.contains("error") && reply["error"].is_string()) {
    return MakeError(KindOf(reply.value("kind", "")), reply["error"].get<std::string>());
  }
  return reply;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tandem::tools
