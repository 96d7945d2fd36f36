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
#include "tools/ending_note.h"

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

// Another user could exchange what is in a directory of his. (Root, who may be given anybody's, is
// told by whom.)
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

// Names and what changed of them stand in these files. The directory, too, unless it holds other
// things, for which it may have to be open.
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
Result<bool> IsAtOrBelow(const std::string& path, const StateDirectory::Outside& directory) {
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

constexpr char kUncoveredName[] = "/uncovered";

// The database knows it too, for whoever loses the file.
constexpr char kVolumeKey[] = "volume";

std::string Identity(const std::string& volume, VolumeId id) { return id.ToHex() + " " + volume; }

Result<std::optional<VolumeId>> RememberedId(const std::string& directory,
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
  if (id && *text == Identity(volume, *id)) return id;
  return MakeError(ErrorKind::kUsage, "state directory " + directory +
                                          " belongs to another volume (" + *text +
                                          "): choose another with --state");
}

Result<meta::StateDatabase> OpenSoundDatabase(const std::string& directory) {
  ASSIGN_OR_RETURN(meta::StateDatabase database, meta::StateDatabase::Open(directory));
  RETURN_IF_ERROR(database.CheckHandles());
  return database;
}

// A tandemfs that has just been unmounted still writes down its state: it is given the time, and as
// much more as it says it needs. False, with errno, if the lock cannot be had.
bool LockPatiently(int fd, std::chrono::seconds patience, EndingWatch& holder) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kSoonEnded{500};
  const auto begun = Clock::now();
  const timespec pause{0, 20'000'000};
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return false;
    const auto waited = Clock::now() - begun;
    const bool goes_on = waited >= kSoonEnded && holder.GoesOn();
    if (waited >= patience && !goes_on) {
      errno = EWOULDBLOCK;
      return false;
    }
    nanosleep(&pause, nullptr);
  }
  return true;
}

tl::unexpected<Error> StandsStill(const std::string& what, const EndingWatch& holder) {
  return MakeError(ErrorKind::kUsage, what + " is in use by " + holder.Description() +
                                          ". It has stood still for some time: look what it waits "
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
  // Not below /tmp, where somebody else may have made it.
  return std::string(home != nullptr ? home : "") + "/.local/state/tandemfs/" + volume;
}

Result<StateDirectory> StateDirectory::Open(const std::string& path, const std::string& volume,
                                            const std::vector<Outside>& outside) {
  // Look where it would be before making anything: not inside what is replicated. Twice, for what
  // comes after a ".." may be a symbolic link as well.
  std::string resolved = path;
  for (int i = 0; i < 2; ++i) {
    std::error_code error;
    resolved = std::filesystem::weakly_canonical(resolved, error);
    if (error) return ErrnoError(error.value(), "find state directory " + path);
  }
  for (const Outside& directory : outside) {
    if (IsBelow(resolved, directory.path)) return InsideError(path, directory.path);
  }
  RETURN_IF_ERROR(MakeDirectories(resolved));
  // Or inside by another mount of the same directory.
  for (const Outside& directory : outside) {
    ASSIGN_OR_RETURN(const bool inside, IsAtOrBelow(resolved, directory));
    if (!inside) continue;
    rmdir(resolved.c_str());
    return InsideError(path, directory.path);
  }
  const std::string lock_path = resolved + "/lock";
  UniqueFd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile));
  if (!lock.valid()) return ErrnoError("open " + lock_path);
  EndingWatch holder(resolved);
  if (!LockPatiently(lock.get(), kLockPatience, holder)) {
    if (errno != EWOULDBLOCK) return ErrnoError("lock " + lock_path);
    if (!holder.Description().empty()) return StandsStill("state directory " + resolved, holder);
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

// The identity stands beside the database, so that losing that does not lose this.
Status StateDirectory::LoadOrCreateIdentity(const std::string& volume) {
  const std::string path = path_ + "/volume.json";
  if (std::ifstream file(path); file) {
    const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
    const std::string name = json.is_object() ? json.value("name", "") : "";
    const auto id = VolumeId::FromHex(json.is_object() ? json.value("uuid", "") : "");
    if (!id) {
      return MakeError(ErrorKind::kCorrupt,
                       path +
                           " is damaged: restore it, or remove the state "
                           "directory to begin anew under another volume name");
    }
    if (name != volume) {
      return MakeError(ErrorKind::kUsage,
                       "state directory " + path_ + " belongs to volume " + name + ", not " +
                           volume + ": choose another with --state, or use --volume " + name);
    }
    volume_id_ = *id;
    is_new_ = false;
    return {};
  }
  if (errno != ENOENT) return ErrnoError("open " + path);
  ASSIGN_OR_RETURN(const auto remembered, RememberedId(path_, volume));
  volume_id_ = remembered.value_or(VolumeId::Random());
  const Json json = {{"name", volume}, {"uuid", volume_id_.ToHex()}};
  return ReplaceFile(path, json.dump() + "\n", kPrivateFile, /*durably=*/true);
}

Result<meta::StateDatabase> StateDirectory::OpenDatabase() {
  ASSIGN_OR_RETURN(meta::StateDatabase database, OpenOrReplaceDatabase());
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
        "the state database of {} is gone or empty. Every replica is reconciled with the "
        "source",
        path_);
  }
  auto database = OpenSoundDatabase(path_);
  if (database || database.error().kind() != ErrorKind::kCorrupt) return database;
  database_was_lost_ = true;
  ASSIGN_OR_RETURN(const std::string aside, meta::StateDatabase::SetAside(path_));
  LogWarning(
      "{}. The state database cannot be trusted: set aside as {}. Every replica is "
      "reconciled with the source",
      database.error().ToString(), aside);
  return meta::StateDatabase::Open(path_);
}

Status StateDirectory::NoteUncovered(const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) != 0 && errno == ENOENT) return {};
  return ReplaceFile(path + kUncoveredName, "the bare source was open to applications\n",
                     kPrivateFile, /*durably=*/true);
}

bool StateDirectory::was_uncovered() const {
  return access((path_ + kUncoveredName).c_str(), F_OK) == 0;
}

Status StateDirectory::ForgetUncovered() {
  const std::string path = path_ + kUncoveredName;
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError("remove " + path);
  return {};
}

Status LockSource(int source_fd, const std::string& source, const std::string& state,
                  std::chrono::seconds patience) {
  EndingWatch holder(state);
  if (LockPatiently(source_fd, patience, holder)) return {};
  if (errno != EWOULDBLOCK) return ErrnoError("lock " + source);
  if (!holder.Description().empty()) return StandsStill("source " + source, holder);
  return MakeError(ErrorKind::kUsage, "source " + source +
                                          " is already mounted by another tandemfs (see tandem "
                                          "status)");
}

}  // namespace tandem::tools
