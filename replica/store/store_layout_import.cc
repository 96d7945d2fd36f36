// The part of StoreLayout that `tandemd import` uses.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "meta/base/replace_file.h"
#include "replica/accounts/rights.h"
#include "replica/apply/removal.h"
#include "replica/apply/tree.h"
#include "replica/store/store_layout.h"
#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

constexpr char kImportMarker[] = "import";
constexpr char kVolumeMarker[] = "volume";

bool HasFile(int directory_fd, const char* name) {
  struct stat found;
  return fstatat(directory_fd, name, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode);
}

tl::unexpected<Error> Taken(const std::string& path, const char* what) {
  return MakeError(ErrorKind::kUsage,
                   "import into " + path + " (" + what + ": give another name, or move it away)",
                   EEXIST);
}

}  // namespace

Result<StoreLayout::Import> StoreLayout::FindImport(const VolumeKey& key) const {
  Import import;
  import.path = path_ + "/" + key.ToString();
  if (!IsValidName(key.name) || key.name.front() == '.') {
    return MakeError(ErrorKind::kUsage, "import into " + import.path + " (no volume is called so)",
                     EINVAL);
  }
  if (key.account == kLocalAccount) {
    ASSIGN_OR_RETURN(import.parent_fd, OpenBeneath(fd_.get(), ".", O_RDONLY | O_DIRECTORY));
  } else {
    ASSIGN_OR_RETURN(import.parent_fd, MakeAccount(key.account));
  }
  const int parent_fd = import.parent_fd.get();
  // An empty directory is in nobody's way.
  if (unlinkat(parent_fd, key.name.c_str(), AT_REMOVEDIR) != 0 && errno == ENOTDIR) {
    return Taken(import.path, "there is a file of that name");
  }
  auto fd = OpenBeneath(parent_fd, key.name, O_RDONLY | O_DIRECTORY);
  if (!fd && fd.error().code() == ENOENT) return import;
  if (!fd) return tl::unexpected<Error>(std::move(fd.error()).Within("open " + import.path));
  import.has_identity = HasFile(fd->get(), kVolumeMarker);
  if (!HasFile(fd->get(), kImportMarker)) {
    return Taken(import.path,
                 import.has_identity ? "there is such a volume" : "there is such a directory");
  }
  import.fd = std::move(*fd);
  return import;
}

Status StoreLayout::MakeImport(const VolumeKey& key, Import& import) {
  RETURN_IF_ERROR(MakeWholeDirectory(import.parent_fd.get(), key.name, [](int fresh_fd) {
    return ReplaceFile(fresh_fd, kImportMarker, "", kPrivateFile, /*durably=*/true);
  }));
  ASSIGN_OR_RETURN(import.fd,
                   OpenBeneath(import.parent_fd.get(), key.name, O_RDONLY | O_DIRECTORY));
  return {};
}

Status StoreLayout::RemoveImport(const VolumeKey& key, Import& import) {
  import.fd.Reset();
  return RemoveAll(import.parent_fd.get(), import.parent_fd.get(), key.name, {});
}

Status StoreLayout::FinishImport(const VolumeKey& key, const Import& import) {
  // Its source gives it an id.
  if (!import.has_identity) RETURN_IF_ERROR(WriteIdentity(import.fd.get(), {VolumeId(), key.name}));
  if (unlinkat(import.fd.get(), kImportMarker, 0) != 0 && errno != ENOENT) {
    return ErrnoError("remove " + import.path + "/" + kImportMarker);
  }
  if (fsync(import.fd.get()) != 0) return ErrnoError("sync directory " + import.path);
  return {};
}

}  // namespace tandem::replica
