#include "replica/store/store_layout.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "meta/base/log.h"
#include "meta/base/mount_table.h"
#include "meta/base/replace_file.h"
#include "replica/accounts/rights.h"
#include "replica/apply/file_data.h"
#include "replica/apply/removal.h"
#include "replica/apply/tree.h"
#include "replica/store/volume_place.h"

namespace tandem::replica {
namespace {

constexpr char kLockName[] = ".lock";
constexpr char kNewPrefix[] = ".new-";
constexpr char kDaemonDirectory[] = ".tandemd";
constexpr char kVolumeMarker[] = "volume";
constexpr char kAccountMarker[] = "account";
constexpr char kImportMarker[] = "import";
constexpr int kFormat = 1;
constexpr uint64_t kMostMarkerBytes = 4096;

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

// A directory of that name is none: it is a volume called so.
bool HasFile(int directory_fd, const std::string& path) {
  struct stat found;
  return fstatat(directory_fd, path.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(found.st_mode);
}

// Says the same whatever has the name: a volume and an account must not tell of each other.
tl::unexpected<Error> NameTaken(const VolumeKey& key) {
  return MakeError(ErrorKind::kRefused,
                   "make volume " + key.name +
                       " (this store has another use for the name: mount with another --volume "
                       "NAME)",
                   EEXIST);
}

// Makes a directory under a passing name, lets `fill` fill it, and then gives it its name, durably.
// Returns EEXIST if something has the name.
Status MakeWhole(int parent_fd, const std::string& name, mode_t mode,
                 const std::function<Status(int)>& fill) {
  const std::string fresh = kNewPrefix + VolumeId::Random().ToHex();
  if (mkdirat(parent_fd, fresh.c_str(), kPrivateDirectory) != 0) {
    return ErrnoError("make directory " + fresh);
  }
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenBeneath(parent_fd, fresh, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(fill(fd.get()));
  if (mode != kPrivateDirectory && fchmod(fd.get(), mode) != 0) {
    return ErrnoError("chmod " + fresh);
  }
  if (renameat2(parent_fd, fresh.c_str(), parent_fd, name.c_str(), RENAME_NOREPLACE) != 0) {
    auto error = ErrnoError("make directory " + name);
    (void)RemoveAll(parent_fd, parent_fd, fresh, {});
    return error;
  }
  if (fsync(parent_fd) != 0) return ErrnoError("sync the directory of " + name);
  return {};
}

}  // namespace

std::string VolumeKey::ToString() const {
  return account == kLocalAccount ? name : account + "/" + name;
}

bool IsAccountDirectory(int directory_fd) {
  if (HasFile(directory_fd, kVolumeMarker)) return false;
  const UniqueFd fd(openat(directory_fd, kAccountMarker, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return false;
  const auto json =
      nlohmann::json::parse(ReadUpTo(fd.get(), 0, kMostMarkerBytes).value_or(""), nullptr, false);
  return json.is_object() && json.contains("account") && json.contains("format") &&
         json["format"] == kFormat;
}

Result<std::unique_ptr<StoreLayout>> StoreLayout::Open(const std::string& path, mode_t mode) {
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
  std::unique_ptr<StoreLayout> layout(new StoreLayout(path, std::move(fd), mode));
  RETURN_IF_ERROR(layout->Lock());
  RETURN_IF_ERROR(layout->EnsureModeOfStore());
  return layout;
}

Status StoreLayout::Lock() {
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
Status StoreLayout::EnsureModeOfStore() const {
  struct stat found;
  if (fstat(fd_.get(), &found) != 0) return ErrnoError("stat store directory " + path_);
  ASSIGN_OR_RETURN(const auto names, NamesIn(fd_.get()));
  bool is_ours = (found.st_mode & S_ISVTX) == 0;
  for (const std::string& name : names) {
    is_ours &= name == kLockName || name == kDaemonDirectory || name == kControlSocket ||
               name == "lost+found" || name.starts_with(kNewPrefix) ||
               HasFile(fd_.get(), name + "/" + kVolumeMarker) ||
               HasFile(fd_.get(), name + "/" + kAccountMarker) ||
               HasFile(fd_.get(), name + "/" + kImportMarker);
  }
  if (is_ours) {
    EnsureMode(path_, mode_);
  } else if ((found.st_mode & 0777 & ~mode_) != 0) {
    LogWarning("store {} holds other things than volumes: others may still list it (mode {:04o})",
               path_, found.st_mode & 07777);
  }
  return {};
}

// ---- Accounts ----------------------------------------------------------------------------------

Result<UniqueFd> StoreLayout::OpenAccount(const std::string& account) const {
  auto fd = OpenBeneath(fd_.get(), account, O_RDONLY | O_DIRECTORY);
  if (!fd && fd.error().code() == ENOENT) return UniqueFd();
  if (fd && IsAccountDirectory(fd->get())) return fd;
  // The reason is not the peer's to know: a volume of another account may have the name.
  return MakeError(ErrorKind::kRefused,
                   "use the directory of account " + account +
                       " (it cannot be used; the log of tandemd says why)",
                   EEXIST);
}

Result<UniqueFd> StoreLayout::MakeAccount(const std::string& account) const {
  // More is forbidden here than in a file name, since the name also stands in messages and files.
  if (!IsValidName(account) || account.front() == '.' || account == kLocalAccount) {
    return MakeError(ErrorKind::kUsage, "make account " + account + " (the name is not allowed)",
                     EINVAL);
  }
  ASSIGN_OR_RETURN(UniqueFd fd, OpenAccount(account));
  if (fd.valid()) return fd;
  const nlohmann::json json = {{"format", kFormat}, {"account", account}};
  const std::string text =
      json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const auto made = MakeWhole(fd_.get(), account, mode_, [&text](int fresh_fd) {
    return ReplaceFile(fresh_fd, kAccountMarker, text, kPrivateFile, /*durably=*/true);
  });
  // Another volume of the account may have been made at the same time.
  if (!made && made.error().code() != EEXIST) return tl::unexpected<Error>(made.error());
  if (made) LogInfo("account {}: directory made", account);
  return OpenAccount(account);
}

Status AdoptVolume(const std::string& store, const std::string& volume,
                   const std::string& account) {
  struct stat found;
  if (stat(store.c_str(), &found) != 0) return ErrnoError("open store directory " + store);
  // It keeps its mode, and the account's directory gets the same.
  ASSIGN_OR_RETURN(const auto layout, StoreLayout::Open(store, found.st_mode & 0777));
  return layout->Adopt(volume, account);
}

Status StoreLayout::MakeWholeDirectory(int parent_fd, const std::string& name,
                                       const std::function<Status(int)>& fill) {
  return MakeWhole(parent_fd, name, kPrivateDirectory, fill);
}

// ---- Volumes -----------------------------------------------------------------------------------

Result<std::vector<VolumeKey>> StoreLayout::FindVolumes() const {
  std::vector<VolumeKey> found;
  // An account's directory has no accounts in it.
  const std::function<Status(int, const std::string&)> look =
      [&](int directory_fd, const std::string& account) -> Status {
    ASSIGN_OR_RETURN(const auto names, NamesIn(directory_fd));
    for (const std::string& name : names) {
      if (name.starts_with(kNewPrefix)) {
        RETURN_IF_ERROR(RemoveAll(directory_fd, directory_fd, name, {}));
      }
      if (name.starts_with('.')) continue;
      if (HasFile(directory_fd, name + "/" + kVolumeMarker)) {
        found.push_back({account, name});
        continue;
      }
      if (account != kLocalAccount) continue;
      const auto child = OpenBeneath(directory_fd, name, O_RDONLY | O_DIRECTORY);
      if (!child || !IsAccountDirectory(child->get())) continue;
      EnsureMode(path_ + "/" + name, mode_);
      RETURN_IF_ERROR(look(child->get(), name));
    }
    return {};
  };
  RETURN_IF_ERROR(look(fd_.get(), kLocalAccount));
  std::ranges::sort(found);
  return found;
}

Result<StoreLayout::Opened> StoreLayout::OpenVolume(const VolumeKey& key) const {
  const std::string path = path_ + "/" + key.ToString();
  const auto within = [&path](Error error) {
    return tl::unexpected<Error>(std::move(error).Within("open volume " + path));
  };
  UniqueFd account;
  if (key.account != kLocalAccount) {
    ASSIGN_OR_RETURN(account, OpenAccount(key.account));
    if (!account.valid()) return ErrnoError(ENOENT, "open volume " + path);
  }
  const int parent_fd = account.valid() ? account.get() : fd_.get();
  auto fd = OpenBeneath(parent_fd, key.name, O_RDONLY | O_DIRECTORY);
  if (!fd && fd.error().code() == ENOTDIR) return NameTaken(key);
  if (!fd) return within(std::move(fd.error()));
  if (!HasFile(fd->get(), kVolumeMarker)) return NameTaken(key);
  EnsureMode(path, mode_);
  auto identity = ReadIdentity(fd->get());
  if (!identity) return within(std::move(identity.error()));
  identity->name = key.name;
  return Opened{std::move(*fd), path, std::move(*identity)};
}

Status StoreLayout::MakeVolume(const VolumeKey& key, VolumeId id) const {
  UniqueFd account;
  if (key.account != kLocalAccount) {
    ASSIGN_OR_RETURN(account, MakeAccount(key.account));
  }
  const int parent_fd = account.valid() ? account.get() : fd_.get();
  auto made = MakeWhole(parent_fd, key.name, mode_, [&](int fresh_fd) {
    return VolumePlace::Prepare(fresh_fd, {id, key.name});
  });
  if (made) return {};
  if (made.error().code() == EEXIST) return NameTaken(key);
  return tl::unexpected<Error>(
      std::move(made.error()).Within("make volume " + path_ + "/" + key.ToString()));
}

Status StoreLayout::Adopt(const std::string& volume, const std::string& account) const {
  const auto cannot = [&](const std::string& why, int code) {
    return MakeError(
        ErrorKind::kUsage,
        "adopt volume " + path_ + "/" + volume + " for account " + account + " (" + why + ")",
        code);
  };
  if (!IsValidName(volume) || volume.front() == '.')
    return cannot("no volume is called so", EINVAL);
  if (volume == account) return cannot("an account and a volume beside it need two names", EEXIST);
  const bool is_here = HasFile(fd_.get(), volume + "/" + kVolumeMarker);
  const VolumeKey moved{account, volume};
  if (!is_here) {
    // Perhaps an earlier attempt was killed after the move.
    ASSIGN_OR_RETURN(const UniqueFd there, OpenAccount(account));
    if (!there.valid() || !HasFile(there.get(), volume + "/" + kVolumeMarker)) {
      return cannot("account local has no such volume", ENOENT);
    }
  }
  ASSIGN_OR_RETURN(const UniqueFd target, MakeAccount(account));
  if (is_here) {
    if (renameat2(fd_.get(), volume.c_str(), target.get(), volume.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST) return cannot("the account has a volume of that name", EEXIST);
      return ErrnoError("move volume " + path_ + "/" + volume + " to " + moved.ToString());
    }
  }
  if (fsync(target.get()) != 0) return ErrnoError("sync directory " + path_ + "/" + account);
  if (fsync(fd_.get()) != 0) return ErrnoError("sync store directory " + path_);
  return {};
}

}  // namespace tandem::replica
