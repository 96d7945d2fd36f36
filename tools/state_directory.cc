#include "tools/state_directory.h"

#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "meta/base/ancestry.h"
#include "meta/base/log.h"
#include "meta/base/private_files.h"
#include "meta/base/replace_file.h"
#include "tools/shutdown_progress.h"

namespace tandem::tools {
namespace {

using Json = nlohmann::json;

Status MakeDirectories(const std::string& path) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string parent = path.substr(0, at);
    if (mkdir(parent.c_str(), kPrivateDirectory) != 0 && errno != EEXIST) {
      return ErrnoError("make state directory " + parent);
    }
    if (at == std::string::npos) return {};
  }
}

// The owner of the directory could exchange its files, so it must be this user or root. Root may
// use anybody's directory, with a warning.
Status CheckOwner(const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) != 0) return ErrnoError("stat " + path);
  if (found.st_uid == geteuid() || found.st_uid == 0) return {};
  if (geteuid() == 0) {
    LogWarning("state directory {} belongs to user {}, who can change what is in it", path,
               found.st_uid);
    return {};
  }
  return MakeError(ErrorKind::kUsage, "state directory " + path +
                                          " belongs to another user: choose one of your own with "
                                          "--state");
}

// Removes other users' access to our files, which hold names of the source; and to the directory,
// unless it has files of others, for which it may have to be accessible.
void CloseToOthers(const std::string& path) {
  bool is_ours = true;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(path, ignored)) {
    const std::string name = file.path().filename();
    if (name == "lock" || name.starts_with("state.db") || name.starts_with("volume.json") ||
        name.starts_with("tandemfs.")) {
      EnsureMode(file.path(), kPrivateFile);
    } else {
      is_ours = false;
    }
  }
  if (is_ours) EnsureMode(path, kPrivateDirectory);
}

bool IsBelow(const std::string& path, const std::string& directory) {
  return path == directory || directory == "/" || path.starts_with(directory + "/");
}

tl::unexpected<Error> InsideError(const std::string& path, const std::string& directory) {
  return MakeError(ErrorKind::kUsage, "state directory " + path + " is inside " + directory +
                                          ", which is replicated: choose another with --state");
}

// Returns whether `path` is `directory` or lies below it, whatever either is called.
Result<bool> IsAtOrBelow(const std::string& path,
                         const StateDirectory::ReplicatedDirectory& directory) {
  const bool by_name = directory.fd < 0;
  const auto wanted =
      StatIdentity(by_name ? AT_FDCWD : directory.fd, by_name ? directory.path.c_str() : "");
  if (!wanted && wanted.error().code() == ENOENT) return false;
  if (!wanted) return ErrnoError(wanted.error().code(), "stat " + directory.path);
  UniqueFd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("go up from " + path);
  auto leads = tandem::IsAtOrBelow(std::move(fd), *wanted);
  if (!leads) return ErrnoError(leads.error().code(), "go up from " + path);
  return leads;
}

constexpr char kExposedFile[] = "/uncovered";

// The keys of the volume's identity, and of the form of its ids, in the database, in case
// volume.json is lost.
constexpr char kVolumeKey[] = "volume";
constexpr char kIdsKey[] = "ids";
constexpr char kPlacedIds[] = "placed";

// What is not said is of a version that knew no other.
IdForm IdFormIn(const std::string& text) {
  return text == kPlacedIds ? IdForm::kPlaced : IdForm::kHash;
}

std::string Identity(const std::string& volume, VolumeId id) { return id.ToHex() + " " + volume; }

struct Remembered {
  VolumeId id;
  IdForm id_form;
};

Result<std::optional<Remembered>> RememberedIdentity(const std::string& directory,
                                                     const std::string& volume) {
  if (access((directory + "/state.db").c_str(), F_OK) != 0) return std::nullopt;
  auto database = meta::StateDatabase::Open(directory);
  if (!database && database.error().kind() != ErrorKind::kCorrupt) {
    return tl::unexpected<Error>(std::move(database.error()));
  }
  if (!database) return std::nullopt;  // OpenDatabase says why
  ASSIGN_OR_RETURN(const auto text, database->Get(kVolumeKey));
  if (!text) return std::nullopt;
  const auto id = VolumeId::FromHex(text->substr(0, text->find(' ')));
  ASSIGN_OR_RETURN(const auto ids, database->Get(kIdsKey));
  if (id && *text == Identity(volume, *id)) return Remembered{*id, IdFormIn(ids.value_or(""))};
  return MakeError(ErrorKind::kUsage, "state directory " + directory +
                                          " belongs to another volume (" + *text +
                                          "): choose another with --state");
}

Result<meta::StateDatabase> OpenSoundDatabase(const std::string& directory, IdForm id_form) {
  ASSIGN_OR_RETURN(meta::StateDatabase database, meta::StateDatabase::Open(directory));
  ASSIGN_OR_RETURN(const auto volume, database.Get(kVolumeKey));
  ASSIGN_OR_RETURN(const auto ids, database.Get(kIdsKey));
  if (volume && IdFormIn(ids.value_or("")) != id_form) {
    return MakeError(ErrorKind::kCorrupt, "check " + directory +
                                              "/state.db (its ids are of another form than "
                                              "volume.json beside it says)");
  }
  RETURN_IF_ERROR(database.CheckHandles());
  return database;
}

// Waits `timeout` for the lock, since a tandemfs that has just been unmounted still writes its
// state, and longer while that one reports progress. Returns false, with errno set, if it cannot be
// locked.
bool LockWithTimeout(int fd, std::chrono::seconds timeout, ShutdownWatch& holder) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kSoonEnded{500};
  const auto begun = Clock::now();
  const timespec pause{0, 20'000'000};
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return false;
    const auto waited = Clock::now() - begun;
    const bool is_progressing = waited >= kSoonEnded && holder.IsProgressing();
    if (waited >= timeout && !is_progressing) {
      errno = EWOULDBLOCK;
      return false;
    }
    nanosleep(&pause, nullptr);
  }
  return true;
}

tl::unexpected<Error> StalledError(const std::string& what, const ShutdownWatch& holder) {
  return MakeError(ErrorKind::kUsage, what + " is in use by " + holder.Description() +
                                          ". Its shutdown has stood still: find out what it waits "
                                          "for, or kill it");
}

}  // namespace

std::string StateDirectory::DefaultPath(const std::string& volume) {
  if (geteuid() == 0) return "/var/lib/tandemfs/" + volume;
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/') {
    return std::string(state) + "/tandemfs/" + volume;
  }
  const char* home = std::getenv("HOME");
  const passwd* user = home == nullptr ? getpwuid(geteuid()) : nullptr;
  if (user != nullptr) home = user->pw_dir;
  // Not below /tmp, where another user could have made it.
  return std::string(home != nullptr ? home : "") + "/.local/state/tandemfs/" + volume;
}

Result<StateDirectory> StateDirectory::Open(const std::string& path, const std::string& volume,
                                            const std::vector<ReplicatedDirectory>& replicated) {
  // Resolve the path before making anything, to check that it is not replicated. Twice, because a
  // component after a ".." may be a symlink, too.
  std::string resolved = path;
  for (int i = 0; i < 2; ++i) {
    std::error_code error;
    resolved = std::filesystem::weakly_canonical(resolved, error);
    if (error) return ErrnoError(error.value(), "find state directory " + path);
  }
  for (const ReplicatedDirectory& directory : replicated) {
    if (IsBelow(resolved, directory.path)) return InsideError(path, directory.path);
  }
  RETURN_IF_ERROR(MakeDirectories(resolved));
  // It may be inside by another mount of the same directory.
  for (const ReplicatedDirectory& directory : replicated) {
    ASSIGN_OR_RETURN(const bool inside, IsAtOrBelow(resolved, directory));
    if (!inside) continue;
    rmdir(resolved.c_str());
    return InsideError(path, directory.path);
  }
  const std::string lock_path = resolved + "/lock";
  UniqueFd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile));
  if (!lock.valid()) return ErrnoError("open " + lock_path);
  ShutdownWatch holder(resolved);
  if (!LockWithTimeout(lock.get(), kLockTimeout, holder)) {
    if (errno != EWOULDBLOCK) return ErrnoError("lock " + lock_path);
    if (!holder.Description().empty()) return StalledError("state directory " + resolved, holder);
    return MakeError(ErrorKind::kUsage, "state directory " + resolved +
                                            " is in use by another tandemfs: end that one, or "
                                            "choose another directory with --state");
  }
  RETURN_IF_ERROR(CheckOwner(resolved));
  CloseToOthers(resolved);
  StateDirectory directory(resolved, std::move(lock));
  directory.volume_ = volume;
  RETURN_IF_ERROR(directory.LoadOrCreateIdentity(volume));
  return directory;
}

// The identity is stored beside the database, so that it survives the loss of the database.
Status StateDirectory::LoadOrCreateIdentity(const std::string& volume) {
  const std::string path = path_ + "/volume.json";
  if (std::ifstream file(path); file) {
    const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
    const auto text = [&json](const char* key) {
      const bool is_there = json.is_object() && json.contains(key) && json[key].is_string();
      return is_there ? json[key].get<std::string>() : std::string();
    };
    const std::string name = text("name");
    const auto id = VolumeId::FromHex(text("uuid"));
    if (!id) {
      return MakeError(ErrorKind::kCorrupt, path +
                                                " is damaged: restore it, or remove the state "
                                                "directory and use another volume name");
    }
    if (name != volume) {
      return MakeError(ErrorKind::kUsage,
                       "state directory " + path_ + " belongs to volume " + name + ", not " +
                           volume + ": choose another with --state, or use --volume " + name);
    }
    if (const std::string ids = text("ids"); !ids.empty() && ids != kPlacedIds) {
      return MakeError(
          ErrorKind::kRefused,
          path + " was written by a newer tandemfs (its ids are " + ids + "): use that one");
    }
    volume_id_ = *id;
    id_form_ = IdFormIn(text("ids"));
    is_new_ = false;
    return {};
  }
  if (errno != ENOENT) return ErrnoError("open " + path);
  ASSIGN_OR_RETURN(const auto remembered, RememberedIdentity(path_, volume));
  const Remembered identity = remembered.value_or(Remembered{VolumeId::Random(), IdForm::kPlaced});
  volume_id_ = identity.id;
  id_form_ = identity.id_form;
  Json json = {{"name", volume}, {"uuid", volume_id_.ToHex()}};
  if (id_form_ == IdForm::kPlaced) json["ids"] = kPlacedIds;
  return ReplaceFile(path, json.dump() + "\n", kPrivateFile, /*durably=*/true);
}

Result<meta::StateDatabase> StateDirectory::OpenDatabase() {
  ASSIGN_OR_RETURN(meta::StateDatabase database, OpenOrReplaceDatabase());
  // In this order: where the volume is said, the form is.
  if (id_form_ == IdForm::kPlaced) RETURN_IF_ERROR(database.Put(kIdsKey, kPlacedIds));
  RETURN_IF_ERROR(database.Put(kVolumeKey, Identity(volume_, volume_id_)));
  return database;
}

Result<meta::StateDatabase> StateDirectory::OpenOrReplaceDatabase() {
  struct stat stat_buffer;
  const bool lost =
      stat((path_ + "/state.db").c_str(), &stat_buffer) != 0 || stat_buffer.st_size == 0;
  database_was_lost_ = lost && !is_new_;
  if (database_was_lost_) {
    LogWarning(
        "the state database in {} is missing or empty. Every replica is reconciled with the "
        "source",
        path_);
  }
  auto database = OpenSoundDatabase(path_, id_form_);
  if (database || database.error().kind() != ErrorKind::kCorrupt) return database;
  database_was_lost_ = true;
  ASSIGN_OR_RETURN(const std::string aside, meta::StateDatabase::SetAside(path_));
  LogWarning(
      "{}. The state database is corrupt: set aside as {}. Every replica is reconciled with the "
      "source",
      database.error().ToString(), aside);
  return meta::StateDatabase::Open(path_);
}

Status StateDirectory::RecordExposure(const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) != 0 && errno == ENOENT) return {};
  return ReplaceFile(path + kExposedFile, "the bare source was open to applications\n",
                     kPrivateFile, /*durably=*/true);
}

bool StateDirectory::was_exposed() const {
  return access((path_ + kExposedFile).c_str(), F_OK) == 0;
}

Status StateDirectory::ClearExposure() {
  const std::string path = path_ + kExposedFile;
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError("remove " + path);
  return {};
}

Status LockSource(int source_fd, const std::string& source, const std::string& state,
                  std::chrono::seconds timeout) {
  ShutdownWatch holder(state);
  if (LockWithTimeout(source_fd, timeout, holder)) return {};
  if (errno != EWOULDBLOCK) return ErrnoError("lock " + source);
  if (!holder.Description().empty()) return StalledError("source " + source, holder);
  return MakeError(ErrorKind::kUsage, "source " + source +
                                          " is already mounted by another tandemfs (see tandem "
                                          "status)");
}

}  // namespace tandem::tools
