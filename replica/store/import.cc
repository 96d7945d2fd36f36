#include "replica/store/import.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "meta/base/fault_point.h"
#include "meta/base/mount_table.h"
#include "meta/base/printable.h"
#include "replica/apply/tree.h"
#include "replica/store/import_catalog.h"
#include "replica/store/volume_place.h"

namespace tandem::replica {
namespace {

constexpr char kTreeName[] = "tree";

// The directory that is adopted.
struct Copy {
  std::string path;
  std::string name;  // in its parent
  UniqueFd parent_fd;
  UniqueFd fd;
};

tl::unexpected<Error> Cannot(const std::string& directory, const std::string& why, int code) {
  return MakeError(ErrorKind::kUsage, "import " + Printable(directory) + " (" + why + ")", code);
}

bool IsBelow(const std::filesystem::path& path, const std::filesystem::path& above) {
  const auto relative = path.lexically_relative(above);
  return !relative.empty() && *relative.begin() != "..";
}

Result<Copy> OpenCopy(const std::string& directory, const std::string& store, int store_fd) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::canonical(directory, error);
  if (error) return Cannot(directory, error.message() + ": give a directory", error.value());
  const std::filesystem::path store_path = std::filesystem::canonical(store, error);
  if (error) return ErrnoError(error.value(), "open store directory " + store);
  if (IsBelow(path, store_path)) {
    return Cannot(directory, "it is in the store: move it beside the store first", EINVAL);
  }
  if (IsBelow(store_path, path)) {
    return Cannot(directory, "the store is in it: give the directory of the copy alone", EINVAL);
  }
  Copy copy{path, path.filename(), {}, {}};
  copy.parent_fd.Reset(
      open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!copy.parent_fd.valid()) return Cannot(directory, "its parent cannot be opened", errno);
  copy.fd.Reset(openat(copy.parent_fd.get(), copy.name.c_str(),
                       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!copy.fd.valid()) {
    const int code = errno;
    return Cannot(directory, ErrnoError(code, "open it").value().ToString() + ": give a directory",
                  code);
  }
  ASSIGN_OR_RETURN(const int parent_mount, MountIdOf(copy.parent_fd.get()));
  ASSIGN_OR_RETURN(const int mount, MountIdOf(copy.fd.get()));
  ASSIGN_OR_RETURN(const int store_mount, MountIdOf(store_fd));
  if (mount != parent_mount) {
    return Cannot(directory, "something is mounted there: give a directory inside it", EXDEV);
  }
  if (mount != store_mount) {
    return Cannot(directory,
                  "it is on another filesystem than the store: move or copy it to that of " +
                      store + " first, for example with cp -a",
                  EXDEV);
  }
  // tandemfs keeps a lock on its source.
  if (flock(copy.fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Cannot(directory, "another program has locked it, such as tandemfs whose source it is",
                  EBUSY);
  }
  return copy;
}

Status SyncDirectory(int fd, const std::string& path) {
  if (fsync(fd) != 0) return ErrnoError("sync directory " + path);
  return {};
}

// The copy may be in memory alone, and what is taken for equal has to last.
Status SyncFilesystem(int fd, const std::string& path) {
  if (syncfs(fd) != 0) return ErrnoError("sync filesystem of " + path);
  return {};
}

Status MoveCopy(const Copy& copy, const StoreLayout::Import& import) {
  if (renameat2(copy.parent_fd.get(), copy.name.c_str(), import.fd.get(), kTreeName,
                RENAME_NOREPLACE) != 0) {
    return ErrnoError("move " + copy.path + " to " + import.path + "/" + kTreeName);
  }
  ASSIGN_OR_RETURN(const auto moved, InodeAt(import.fd.get(), kTreeName));
  ASSIGN_OR_RETURN(const auto described, InodeAt(copy.fd.get(), ""));
  if (moved != described) {
    const bool is_back = renameat2(import.fd.get(), kTreeName, copy.parent_fd.get(),
                                   copy.name.c_str(), RENAME_NOREPLACE) == 0;
    return Cannot(copy.path,
                  "another directory got its name meanwhile" +
                      std::string(is_back ? "" : " and is now " + import.path + "/" + kTreeName) +
                      ": stop the program that does that",
                  EBUSY);
  }
  RETURN_IF_ERROR(SyncDirectory(import.fd.get(), import.path));
  return SyncDirectory(copy.parent_fd.get(), copy.path);
}

bool HasTree(const StoreLayout::Import& import) {
  struct stat found;
  return fstatat(import.fd.get(), kTreeName, &found, AT_SYMLINK_NOFOLLOW) == 0;
}

// What it makes must belong to the user that tandemd runs as.
Status CheckUser(const std::string& store, const struct stat& found) {
  if (found.st_uid == geteuid()) return {};
  return MakeError(ErrorKind::kUsage,
                   "import into store " + store + " (it belongs to user " +
                       std::to_string(found.st_uid) + ": run this as that user, as tandemd does)",
                   EPERM);
}

}  // namespace

Result<Imported> ImportTree(const std::string& store, const VolumeKey& key,
                            const std::string& directory, const ImportOptions& options) {
  struct stat found;
  if (stat(store.c_str(), &found) != 0) return ErrnoError("open store directory " + store);
  RETURN_IF_ERROR(CheckUser(store, found));
  ASSIGN_OR_RETURN(const auto layout, StoreLayout::Open(store, found.st_mode & 0777));
  ASSIGN_OR_RETURN(StoreLayout::Import import, layout->FindImport(key));
  if (import.fd.valid() && (import.has_identity || HasTree(import))) {
    RETURN_IF_ERROR(SyncDirectory(import.fd.get(), import.path));
    RETURN_IF_ERROR(StoreLayout::FinishImport(key, import));
    return Imported{0, true};
  }
  ASSIGN_OR_RETURN(const Copy copy, OpenCopy(directory, store, layout->fd()));
  // Described in part, of a directory that may be another one.
  if (import.fd.valid()) RETURN_IF_ERROR(StoreLayout::RemoveImport(key, import));
  RETURN_IF_ERROR(StoreLayout::MakeImport(key, import));
  FAULT_POINT("replica.import.begun");
  auto imported = [&]() -> Result<Imported> {
    ASSIGN_OR_RETURN(const UniqueFd hold_fd, VolumePlace::PrepareStage(import.fd.get()));
    ASSIGN_OR_RETURN(const uint64_t objects,
                     DescribeCopy(copy.fd.get(), hold_fd.get(), import.path, options));
    FAULT_POINT("replica.import.described");
    RETURN_IF_ERROR(SyncFilesystem(import.fd.get(), import.path));
    FAULT_POINT("replica.import.synced");
    RETURN_IF_ERROR(MoveCopy(copy, import));
    return Imported{objects, false};
  }();
  if (!imported) {
    if (!HasTree(import)) (void)StoreLayout::RemoveImport(key, import);
    return imported;
  }
  FAULT_POINT("replica.import.moved");
  RETURN_IF_ERROR(StoreLayout::FinishImport(key, import));
  FAULT_POINT("replica.import.finished");
  return imported;
}

}  // namespace tandem::replica
