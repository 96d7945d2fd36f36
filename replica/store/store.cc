#include "replica/store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "meta/base/log.h"
#include "meta/base/mount_table.h"
#include "replica/apply/removal.h"
#include "replica/apply/tree.h"

namespace tandem::replica {
namespace {

constexpr char kLockName[] = ".lock";
constexpr char kNewPrefix[] = ".new-";

// A store inside a mount would be replicated into itself.
Status CheckNotOnTandemfs(int fd, const std::string& path) {
  ASSIGN_OR_RETURN(const int id, MountIdOf(fd));
  ASSIGN_OR_RETURN(const auto mounts, ReadMountTable());
  for (const MountedFilesystem& mount : mounts) {
    if (mount.id != id || mount.type != kMountType) continue;
    return MakeError(ErrorKind::kUsage, "use store directory " + path +
                                            " (it is inside a tandemfs mount and would be "
                                            "replicated into itself; choose another)");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), kPrivateDirectory) != 0 && errno != EEXIST) {
    return ErrnoError("make store directory " + path +
                      " (give --store a directory that exists, or whose parent does)");
  }
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return ErrnoError("open store directory " + path +
                      " (give --store a directory tandemd may read and write)");
  }
  RETURN_IF_ERROR(CheckNotOnTandemfs(fd.get(), path));
  std::unique_ptr<Store> store(new Store(path, std::move(fd), mode));
  RETURN_IF_ERROR(store->Lock());
  RETURN_IF_ERROR(store->EnsureModeOfStore());
  RETURN_IF_ERROR(store->FindVolumes());
  return store;
}

Status Store::Lock() {
  lock_fd_.Reset(openat(fd_.get(), kLockName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_fd_.valid()) {
    return ErrnoError("create lock file " + path_ +
                      "/.lock (tandemd must be able to write in its "
                      "store)");
  }
  if (flock(lock_fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    char pid[32] = "";
    const ssize_t got = pread(lock_fd_.get(), pid, sizeof pid - 1, 0);
    return MakeError(ErrorKind::kUsage,
                     "lock store " + path_ + " (another tandemd uses it, process " +
                         std::string(pid, got > 0 ? static_cast<size_t>(got) : 0) +
                         "; stop that one, or give another --store)",
                     EBUSY);
  }
  const std::string pid = std::to_string(getpid());
  // For the message above only.
  if (ftruncate(lock_fd_.get(), 0) != 0 || pwrite(lock_fd_.get(), pid.data(), pid.size(), 0) < 0) {
    LogWarning("{}", ErrnoError("write " + path_ + "/.lock").value().ToString());
  }
  return {};
}

// A directory that other programs use too (/srv, /tmp) keeps its mode. The volumes in it are closed
// by their own.
Status Store::EnsureModeOfStore() {
  struct stat found;
  if (fstat(fd_.get(), &found) != 0) return ErrnoError("stat store directory " + path_);
  ASSIGN_OR_RETURN(const auto names, NamesIn(fd_.get()));
  bool is_ours = (found.st_mode & S_ISVTX) == 0;
  for (const std::string& name : names) {
    is_ours &= name == kLockName || name == "lost+found" || name.starts_with(kNewPrefix) ||
               faccessat(fd_.get(), (name + "/volume").c_str(), F_OK, 0) == 0;
  }
  if (is_ours) {
    EnsureMode(path_, mode_);
  } else if ((found.st_mode & 0777 & ~mode_) != 0) {
    LogWarning("store {} holds other things than volumes: others may still list it (mode {:04o})",
               path_, found.st_mode & 07777);
  }
  return {};
}

// A volume that cannot be opened does not prevent the others from being served. Its source is told
// when it says Hello.
Status Store::FindVolumes() {
  ASSIGN_OR_RETURN(const auto names, NamesIn(fd_.get()));
  MutexLock lock(mutex_);
  for (const std::string& name : names) {
    if (name.starts_with(kNewPrefix)) {
      RETURN_IF_ERROR(RemoveAll(fd_.get(), fd_.get(), name, {}));
      continue;
    }
    if (name.starts_with('.') || faccessat(fd_.get(), (name + "/volume").c_str(), F_OK, 0) != 0) {
      continue;
    }
    const auto volume = OpenVolume(name);
    if (volume) {
      LogInfo("volume {} found", name);
    } else {
      LogError("{}", volume.error().ToString());
    }
  }
  return {};
}

Result<std::shared_ptr<Volume>> Store::OpenVolume(const std::string& name) {
  const std::string path = path_ + "/" + name;
  auto fd = OpenBeneath(fd_.get(), name, O_RDONLY | O_DIRECTORY);
  if (!fd) return tl::unexpected<Error>(std::move(fd.error()).Within("open volume " + path));
  if (faccessat(fd->get(), "volume", F_OK, AT_SYMLINK_NOFOLLOW) == 0) EnsureMode(path, mode_);
  auto identity = ReadIdentity(fd->get());
  if (!identity) {
    return tl::unexpected<Error>(std::move(identity.error()).Within("open volume " + path));
  }
  identity->name = name;
  ASSIGN_OR_RETURN(std::shared_ptr<Volume> volume, Volume::Open(std::move(*fd), path, *identity));
  volumes_[name] = volume;
  return volume;
}

// The volume gets its name when it is complete: a crash leaves a whole volume or none.
Status Store::MakeVolume(const Hello& hello) {
  const std::string fresh = kNewPrefix + VolumeId::Random().ToHex();
  if (mkdirat(fd_.get(), fresh.c_str(), kPrivateDirectory) != 0) {
    return ErrnoError("make directory " + path_ + "/" + fresh);
  }
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenBeneath(fd_.get(), fresh, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(Volume::Prepare(fd.get(), {hello.volume, hello.volume_name}));
  if (mode_ != kPrivateDirectory && fchmod(fd.get(), mode_) != 0) {
    return ErrnoError("chmod " + path_ + "/" + fresh);
  }
  if (renameat2(fd_.get(), fresh.c_str(), fd_.get(), hello.volume_name.c_str(), RENAME_NOREPLACE) !=
      0) {
    auto error = ErrnoError("make volume " + path_ + "/" + hello.volume_name +
                            " (something that is no volume has that name)");
    (void)RemoveAll(fd_.get(), fd_.get(), fresh, {});
    return error;
  }
  if (fsync(fd_.get()) != 0) return ErrnoError("sync store directory " + path_);
  LogInfo("volume {} made for {}", hello.volume_name, hello.source);
  return {};
}

Result<std::shared_ptr<Volume>> Store::VolumeFor(const Hello& hello) {
  if (const auto known = volumes_.find(hello.volume_name); known != volumes_.end()) {
    return known->second;
  }
  auto volume = OpenVolume(hello.volume_name);
  if (volume || volume.error().code() != ENOENT) return volume;
  if (faccessat(fd_.get(), hello.volume_name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    return volume;  // there is something, but no volume
  }
  RETURN_IF_ERROR(MakeVolume(hello));
  return OpenVolume(hello.volume_name);
}

// ---- Requests ----------------------------------------------------------------------------------

std::string Store::Answer(std::string_view request, const ConnectionRef& connection) {
  auto decoded = DecodeRequest(request);
  if (!decoded) {
    return EncodeReply({ReplyCode::kBadRequest, decoded.error().ToString(), {}, {}});
  }
  return EncodeReply(Dispatch(*decoded, connection));
}

void Store::Stop() {
  MutexLock lock(mutex_);
  for (const auto& [name, volume] : volumes_) volume->Stop();
}

Reply Store::Dispatch(const Request& request, const ConnectionRef& connection) {
  if (const auto* hello = std::get_if<Hello>(&request.body)) return Greet(*hello, connection);
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(mutex_);
    const auto session = sessions_.find(request.session);
    if (session == sessions_.end()) {
      return {
          ReplyCode::kUnknownSession, "the replica knows no such session; say Hello again", {}, {}};
    }
    volume = session->second;
  }
  return volume->Handle(request, connection);
}

Reply Store::Greet(const Hello& hello, const ConnectionRef& connection) {
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(mutex_);
    auto found = VolumeFor(hello);
    if (!found) {
      return {MeansNoRoom(found.error()) ? ReplyCode::kNoSpace : ReplyCode::kIoError,
              found.error().ToString(),
              {},
              {}};
    }
    volume = std::move(*found);
  }
  Reply reply = volume->Greet(hello, connection);
  const auto* position = std::get_if<Position>(&reply.body);
  if (reply.code != ReplyCode::kOk || position == nullptr) return reply;
  MutexLock lock(mutex_);
  std::erase_if(sessions_, [&](const auto& session) { return session.second == volume; });
  sessions_[position->session] = volume;
  return reply;
}

}  // namespace tandem::replica
