#include "meta/source/name_resolver.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "meta/base/log.h"
#include "meta/change/file_handle.h"
#include "meta/source/directory_names.h"
#include "meta/source/source_tree.h"

namespace tandem::meta {
namespace {

// The length up to which names are joined into one path for openat2, with room below PATH_MAX.
constexpr size_t kLongestPath = 3072;

// Follows no symlinks, because a symlink that has replaced a directory may lead into our own mount.
// Some sandboxes refuse openat2 with ENOSYS or EPERM. Then this sets `one_by_one`, and the caller
// must open every name separately.
int OpenBelow(int directory_fd, const std::string& path, bool& one_by_one) {
  constexpr int kFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  if (one_by_one) return openat(directory_fd, path.c_str(), kFlags);
  open_how how = {};
  how.flags = kFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  const auto fd =
      static_cast<int>(syscall(SYS_openat2, directory_fd, path.c_str(), &how, sizeof how));
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) one_by_one = true;
  return fd;
}

bool IsDirectory(int fd) {
  struct stat attributes;
  return fstatat(fd, "", &attributes, AT_EMPTY_PATH) == 0 && S_ISDIR(attributes.st_mode);
}

bool IsOurs(int fd) {
  struct stat attributes;
  return fstatat(fd, "", &attributes, AT_EMPTY_PATH) == 0 && attributes.st_uid == geteuid();
}

bool LeadsNowhere(int code) {
  return code == ENOENT || code == ENOTDIR || code == ELOOP || code == ESTALE;
}

}  // namespace

bool IsNameUnknown(const Error& error) {
  return error.kind() == ErrorKind::kSystem && error.code() == EAGAIN;
}

// ---- By known names -----------------------------------------------------------------------------

std::optional<std::vector<std::string>> NameResolver::NamesDownTo(const EntryKey& entry) {
  std::vector<std::string> names{entry.name};
  ObjectId at = entry.parent;
  while (at != kRootObject) {
    auto above = whereabouts_.NameOf(at);
    if (!above || names.size() == Whereabouts::kMaxDepth) return std::nullopt;
    names.push_back(std::move(above->name));
    at = above->parent;
  }
  std::reverse(names.begin(), names.end());
  return names;
}

Result<UniqueFd> NameResolver::OpenDown(const std::vector<std::string>& names) const {
  bool one_by_one = one_by_one_;
  UniqueFd fd;
  for (size_t i = 0; i < names.size();) {
    std::string path = names[i];
    size_t next = i + 1;
    for (; !one_by_one && next < names.size() && path.size() < kLongestPath; ++next) {
      path += "/" + names[next];
    }
    const int from = fd.valid() ? fd.get() : root_fd_;
    UniqueFd opened(OpenBelow(from, path, one_by_one));
    if (!opened.valid() && one_by_one && !one_by_one_) {
      one_by_one_ = true;
      continue;  // again, with a single name
    }
    if (!opened.valid()) {
      if (LeadsNowhere(errno)) return UniqueFd();
      if (errno == EXDEV) {
        return ErrnoError(EPERM, "open by name (something is mounted over it)");
      }
      return ErrnoError("open by name");
    }
    fd = std::move(opened);
    i = next;
  }
  return fd;
}

Result<bool> NameResolver::IsObject(const UniqueFd& fd, const ObjectId& object) const {
  ASSIGN_OR_RETURN(const IdentifiedObject found, Identify(fd.get(), ""));
  return found.id == object && found.mount_id == mount_id_;
}

Result<NameResolver::Found> NameResolver::TryNames(const ObjectId& object) {
  Found found;
  Whereabouts::Known known = whereabouts_.Find(object);
  found.version = known.version;
  found.nameless = known.nameless;
  if (known.nameless) return found;
  std::optional<Error> refused;
  for (const EntryKey& name : known.names) {
    auto names = NamesDownTo(name);
    if (!names) continue;
    auto fd = OpenDown(*names);
    found.tried.push_back(std::move(*names));
    if (!fd && IsForbidden(fd.error())) refused = std::move(fd.error());
    if (!fd && refused) continue;  // another name may work
    ASSIGN_OR_RETURN(UniqueFd opened, std::move(fd));
    if (!opened.valid()) continue;
    ASSIGN_OR_RETURN(const bool same, IsObject(opened, object));
    if (!same) continue;
    found.fd = std::move(opened);
    return found;
  }
  if (refused) return tl::unexpected<Error>(std::move(*refused));
  return found;
}

// An operation may have renamed the object, or a directory above it, and not have recorded that
// yet. So waits for the running operations and tries again. If the known names are still the same,
// the object is not at any of them.
Result<NameResolver::Found> NameResolver::TryNamesForSure(const ObjectId& object) {
  ASSIGN_OR_RETURN(Found found, TryNames(object));
  while (!found.settled()) {
    RETURN_IF_ERROR(Settle());
    ASSIGN_OR_RETURN(Found again, TryNames(object));
    const bool same = again.tried == found.tried;
    found = std::move(again);
    if (same) break;
  }
  return found;
}

Result<std::optional<UniqueFd>> NameResolver::Open(const ObjectId& object, Effort effort) {
  if (effort == Effort::kSearch) return OpenOrSearch(object);
  ASSIGN_OR_RETURN(Found found, TryNames(object));
  if (found.fd.valid()) return std::move(found.fd);
  if (found.nameless) return std::nullopt;
  return ErrnoError(EAGAIN, "open by name (the name is not known)");
}

std::optional<EntryKey> NameResolver::TakeLostName(const ObjectId& object) {
  Whereabouts::Known known = whereabouts_.Find(object);
  if (!known.nameless || known.names.empty()) return std::nullopt;
  for (const EntryKey& name : known.names) {
    whereabouts_.NoteNameRemoved(object, name.parent, name.name, Whereabouts::OtherNames::kNone);
  }
  return std::move(known.names.front());
}

std::string NameResolver::PathOf(const ObjectId& object) {
  std::string path;
  const auto name = whereabouts_.NameOf(object);
  if (!name) return path;
  const auto names = NamesDownTo(*name);
  if (!names) return path;
  for (const std::string& one : *names) path += (path.empty() ? "" : "/") + one;
  return path;
}

// ---- By a search --------------------------------------------------------------------------------

// Returns whether the table holds a name of every object: a search has completed and nothing has
// been forgotten since it began.
bool NameResolver::KnowsAll() const {
  return forgotten_before_ && *forgotten_before_ == whereabouts_.forgotten();
}

Result<std::optional<UniqueFd>> NameResolver::OpenOrSearch(const ObjectId& object) {
  ASSIGN_OR_RETURN(Found found, TryNamesForSure(object));
  if (!found.settled()) {
    MutexLock lock(search_mutex_);
    if (!KnowsAll()) {
      // Another thread's search may have found it meanwhile.
      ASSIGN_OR_RETURN(found, TryNames(object));
      Wanted wanted{object};
      if (!found.settled()) RETURN_IF_ERROR(Search(wanted));
    }
    if (!found.settled()) {
      ASSIGN_OR_RETURN(found, TryNamesForSure(object));
    }
    if (!found.settled()) {
      if (skipped_directory_error_) {
        Error closed = *skipped_directory_error_;
        return tl::unexpected<Error>(std::move(closed).Within("search for an object"));
      }
      whereabouts_.NoteNamelessUnlessChanged(object, found.version);
    }
  }
  if (!found.fd.valid()) return std::nullopt;
  return std::move(found.fd);
}

Status NameResolver::Locate(std::span<const ObjectId> objects) {
  Wanted unknown;
  for (const ObjectId& object : objects) {
    if (object == kRootObject) continue;
    // If a directory refuses access, `found` is an error: a search would not find the object
    // either.
    const auto found = TryNames(object);
    if (found && !found->settled()) unknown.insert(object);
  }
  if (unknown.size() < 2) return {};  // Open searches for a single object
  MutexLock lock(search_mutex_);
  if (KnowsAll()) return {};
  std::vector<std::pair<ObjectId, uint64_t>> before;
  for (const ObjectId& object : unknown)
    before.emplace_back(object, whereabouts_.Find(object).version);
  RETURN_IF_ERROR(Search(unknown));
  if (skipped_directory_error_) return {};
  for (const auto& [object, version] : before) {
    if (unknown.contains(object)) whereabouts_.NoteNamelessUnlessChanged(object, version);
  }
  return {};
}

std::vector<std::string> NameResolver::NamesOf(const Place& place) {
  std::vector<std::string> names;
  for (const Place* at = &place; at->parent != nullptr; at = at->parent.get()) {
    names.push_back(at->name);
  }
  std::reverse(names.begin(), names.end());
  return names;
}

// While the search runs, directories may move from a part it has not visited to a part it has. So
// directories that were given a name meanwhile are searched as well, until there are none.
Status NameResolver::Search(Wanted& wanted) {
  ++searches_;
  LogDebug("searching the source for {} objects by name", wanted.size());
  const uint64_t forgotten_before = whereabouts_.forgotten();
  forgotten_before_.reset();
  skipped_directory_error_.reset();
  whereabouts_.StartWatching();
  const auto root = std::make_shared<const Place>(Place{kRootObject, nullptr, {}});
  std::vector<std::shared_ptr<const Place>> left{root};
  Status status;
  while (status && !left.empty()) {
    while (status && !left.empty()) {
      const auto place = std::move(left.back());
      left.pop_back();
      status = stopped_ ? MakeError(ErrorKind::kCancelled, "search the source: stopping")
                        : Visit(place, wanted, left);
    }
    if (status) status = Settle();
    if (!status) break;
    const auto given = whereabouts_.TakeNewlyNamed();
    if (!given) {
      status =
          MakeError(ErrorKind::kGivenUp, "search the source: too many names changed meanwhile");
      break;
    }
    for (const ObjectId& object : *given) {
      const auto name = whereabouts_.NameOf(object);
      const auto names = name ? NamesDownTo(*name) : std::nullopt;
      if (!names) continue;
      std::shared_ptr<const Place> place = root;
      for (const std::string& one : *names) {
        place = std::make_shared<const Place>(Place{object, std::move(place), one});
      }
      left.push_back(std::move(place));
    }
  }
  whereabouts_.StopWatching();
  if (status) forgotten_before_ = forgotten_before;
  return status;
}

// Skips directories that we may not enter. Nothing in them can have been changed through the mount,
// unless we own the directory and so could enter it before.
Status NameResolver::Visit(const std::shared_ptr<const Place>& place, Wanted& wanted,
                           std::vector<std::shared_ptr<const Place>>& left) {
  const auto note = [this](int fd, const Error& error) REQUIRES(search_mutex_) {
    if (IsForbidden(error) && IsOurs(fd)) skipped_directory_error_ = error;
  };
  UniqueFd directory;
  if (place->parent == nullptr) {
    directory.Reset(openat(root_fd_, ".", O_PATH | O_CLOEXEC));
    if (!directory.valid()) return ErrnoError("open root of source");
  } else {
    auto opened = OpenDown(NamesOf(*place));
    if (!opened && IsForbidden(opened.error())) skipped_directory_error_ = opened.error();
    if (!opened && IsUnreadable(opened.error())) return {};
    ASSIGN_OR_RETURN(directory, std::move(opened));
    if (!directory.valid() || !IsDirectory(directory.get())) return {};
  }
  const auto names = ReadNames(directory.get());
  if (!names) {
    note(directory.get(), names.error());
    const bool is_gone = LeadsNowhere(names.error().code());
    if (is_gone || IsUnreadable(names.error())) return {};
    return tl::unexpected<Error>(names.error());
  }
  for (const std::string& name : *names) {
    const UniqueFd fd(openat(directory.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) return ErrnoError("open by name");
      note(directory.get(), Error(ErrorKind::kSystem, errno, "open by name"));
      continue;
    }
    const auto found = Identify(fd.get(), "");
    if (!found || found->mount_id != mount_id_) continue;
    const bool is_directory = IsDirectory(fd.get());
    const bool is_wanted = wanted.erase(found->id) != 0;
    if (is_wanted || is_directory) {
      whereabouts_.Note(found->id, place->id, name);
      if (is_wanted) (void)whereabouts_.Find(found->id);  // so that it is not forgotten first
    } else {
      whereabouts_.NoteIfRoom(found->id, place->id, name);
    }
    if (is_directory) left.push_back(std::make_shared<const Place>(Place{found->id, place, name}));
  }
  return {};
}

}  // namespace tandem::meta
